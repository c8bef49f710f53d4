# SPDX-License-Identifier: Apache-2.0
"""Loop devices and file systems on them, for cases that need more than files.

Every worker has a pair of devices of each sector size, one for the subject and one for QEMU, and one of every file
system; they are created when the first case asks for them, and reused. The kernel detaches a device when this
process ends, however it ends: each is configured with autoclear and held only by a descriptor. File systems are
mounted where only the worker sees them, and disappear with it.
"""
import array
import ctypes
import fcntl
import os
import pathlib
import re
import struct
import subprocess
import threading

from case import Skip

DEVICE_SIZE = 32 << 20
_XFS_SIZE = 320 << 20  # the smallest that mkfs.xfs creates is 300 MiB
_BTRFS_SIZE = 160 << 20

_NAME = "byre-interop-device"  # backing files: <name>.<process>.<number>

# linux/loop.h, linux/fs.h, linux/sched.h
_LOOP_CLR_FD = 0x4C01
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_LO_FLAGS_AUTOCLEAR = 4
_BLKROSET = 0x125D
_BLKFLSBUF = 0x1261
_CLONE_NEWNS = 0x00020000

_lock = threading.Lock()
_worker = threading.local()
_made = 0
_stale_are_gone = False


def old_bytes(size=DEVICE_SIZE):
    """The old contents of a device, without a zero sector: each sector begins with its own number."""
    numbers = array.array("Q", range(1, size // 512 + 1))
    sectors = array.array("Q", b"\xab" * size)
    sectors[::64] = numbers
    return sectors.tobytes()


_OLD = None


class Device:
    """A loop device over a file of its own."""

    def __init__(self, folder, size, sector_size):
        global _made
        with _lock:
            _made += 1
            self.backing = folder / f"{_NAME}.{os.getpid()}.{_made}"
        self.size = size
        self.file = os.open(self.backing, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(self.file, size)
        self.path, self.device = self._attach(sector_size)
        self.set_read_only(False)  # the previous user's setting persists

    def _attach(self, sector_size):
        info = struct.pack("<5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, _LO_FLAGS_AUTOCLEAR,
                           os.fsencode(self.backing)[-63:], b"", b"", 0, 0)
        config = struct.pack("<II", self.file, sector_size) + info + bytes(64)
        with _lock:
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                for _ in range(16):  # another process may take the free one
                    path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
                    device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                    try:
                        fcntl.ioctl(device, _LOOP_CONFIGURE, config)
                        return path, device
                    except OSError:
                        os.close(device)
            finally:
                os.close(control)
        raise OSError("no loop device is free")

    def reset(self, is_old):
        """All zeroes, or full of old bytes; may be written."""
        global _OLD
        self.set_read_only(False)
        fcntl.ioctl(self.device, _BLKFLSBUF)
        if is_old:
            if _OLD is None:
                _OLD = old_bytes()
            os.pwrite(self.file, _OLD[:self.size], 0)
        else:
            os.ftruncate(self.file, 0)
            os.ftruncate(self.file, self.size)
        fcntl.ioctl(self.device, _BLKFLSBUF)

    def copy_from(self, other):
        for device in (other, self):
            os.fsync(device.device)
            fcntl.ioctl(device.device, _BLKFLSBUF)
        os.pwrite(self.file, os.pread(other.file, other.size, 0), 0)
        fcntl.ioctl(self.device, _BLKFLSBUF)

    def set_read_only(self, value):
        fcntl.ioctl(self.device, _BLKROSET, struct.pack("i", value))


def _detach_stale():
    """Devices of killed runs of which a program is still running."""
    for path in pathlib.Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found = re.search(rf"/{_NAME}\.(\d+)\.\d+\b", path.read_text())
            if found is None or pathlib.Path(f"/proc/{found[1]}").exists():
                continue
            device = os.open(f"/dev/{path.parent.parent.name}", os.O_RDWR | os.O_CLOEXEC)
            fcntl.ioctl(device, _LOOP_CLR_FD)
            os.close(device)
        except OSError:
            continue


def _require_root():
    if os.geteuid() != 0:
        raise Skip("not root: nothing can be attached or mounted")


def _require_devices():
    global _stale_are_gone
    _require_root()
    if not os.path.exists("/dev/loop-control"):
        raise Skip("no loop devices here")
    with _lock:
        if not _stale_are_gone:
            _detach_stale()
            _stale_are_gone = True


def _new_device(world, size, sector_size):
    try:
        return Device(world.folder.parent, size, sector_size)
    except OSError as error:
        raise Skip(f"no loop device of {sector_size} byte sectors can be had: {error}") from None


def refusal():
    """The reason why there are no devices; None if there are."""
    try:
        _require_devices()
    except Skip as reason:
        return str(reason)
    return None


def pair(world, sector_size, is_old=False):
    """The worker's two devices, as `dev` in each side's folder; (subject's, QEMU's)."""
    _require_devices()
    devices = _worker.__dict__.setdefault("pairs", {})
    if sector_size not in devices:
        devices[sector_size] = [_new_device(world, DEVICE_SIZE, sector_size) for _ in range(2)]
    for device, side in zip(devices[sector_size], (world.a, world.b)):
        device.reset(is_old)
        (side / "dev").symlink_to(device.path)
    return devices[sector_size]


_MAKERS = {
    "ext4": (DEVICE_SIZE * 3, ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1"]),
    "xfs": (_XFS_SIZE, ["mkfs.xfs", "-q", "-f"]),
    "btrfs": (_BTRFS_SIZE, ["mkfs.btrfs", "-q", "-f"]),
}


def _own_namespace():
    if getattr(_worker, "has_namespace", False):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0 or subprocess.run(
            ["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode:
        raise Skip("no mount namespace can be had")
    _worker.has_namespace = True


def _mount(world, kind, sector_size):
    _require_root()
    _own_namespace()
    where = world.folder.parent / f"mounted-{kind}-{sector_size}-{threading.get_ident()}"
    where.mkdir(exist_ok=True)
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", "size=128m", "none", where]
    else:
        _require_devices()
        size, maker = _MAKERS[kind]
        device = _new_device(world, size, sector_size)
        try:
            made = subprocess.run([*maker, device.path], check=False, capture_output=True, text=True)
        except FileNotFoundError:
            raise Skip(f"{maker[0]} is not installed; scripts/setup installs it") from None
        if made.returncode:
            raise Skip(f"{maker[0]}: {made.stderr.strip()}")
        _worker.__dict__.setdefault("below", []).append(device)
        command = ["mount", "-t", kind, device.path, where]
    mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    if mounted.returncode:
        raise Skip(f"no {kind} can be mounted: {mounted.stderr.strip()}")
    return where


def file_system(world, kind, sector_size=512):
    """An empty directory on the worker's file system of this kind, with the case's name."""
    mounted = _worker.__dict__.setdefault("mounted", {})
    if (kind, sector_size) not in mounted:
        try:
            mounted[kind, sector_size] = _mount(world, kind, sector_size)
        except Skip as reason:
            mounted[kind, sector_size] = reason
    where = mounted[kind, sector_size]
    if isinstance(where, Skip):
        raise where
    folder = where / world.folder.name
    folder.mkdir()
    return folder
