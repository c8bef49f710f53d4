# SPDX-License-Identifier: Apache-2.0
"""libguestfs: guestfish and the virt- tools. Their appliance is a small virtual machine, in emulation here.

The appliance's kernel is taken out of Debian's package, which is not installed. supermin wants /lib/modules, so that an empty
one is there meanwhile.
"""
import contextlib
import os
import pathlib
import subprocess
import sys

from tool import Tool

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import real_disk  # noqa: E402  (in the directory of the benchmarks)
from packages import QEMU_SYSTEM, download  # noqa: E402

MIB = 1 << 20
_MODULES = pathlib.Path("/lib/modules")
_FISH = "guestfish"

_CREATING = [
    f"{_FISH} disk-create a.qcow2 qcow2 64M", f"{_FISH} disk-create b.raw raw 64M",
    f"{_FISH} disk-create c.qcow2 qcow2 64M preallocation:metadata", f"{_FISH} disk-create d.qcow2 qcow2 64M compat:0.10 clustersize:4096",
    f"{_FISH} -- disk-create e.qcow2 qcow2 -1 backingfile:$PWD/a.qcow2 backingformat:qcow2",
    f"{_FISH} -- disk-create f.qcow2 qcow2 -1 backingfile:$PWD/nosuch backingformat:qcow2", f"{_FISH} disk-create g.qcow2 qcow2 100",
    f"{_FISH} disk-format e.qcow2 : disk-virtual-size e.qcow2 : disk-has-backing-file e.qcow2 : disk-format b.raw",
]
_MOUNTING = [
    "qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2",
    f"{_FISH} disk-format disk.qcow2 : disk-virtual-size disk.qcow2 : disk-has-backing-file disk.qcow2", f"{_FISH} --ro --format=qcow2 -a disk.qcow2 -m /dev/sda1 ls /",
    "qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2",
    f"{_FISH} --format=qcow2 -a top.qcow2 run : mount /dev/sda1 / : write /hello world : rm-rf /0/usr/share : umount /",
    "qemu-img commit top.qcow2", f"{_FISH} --ro --format=qcow2 -a disk.qcow2 -m /dev/sda1 cat /hello",
    "qemu-img resize disk.qcow2 +64M", f"{_FISH} --format=qcow2 -a disk.qcow2 run : part-expand-gpt /dev/sda : list-partitions",
    f"{_FISH} --format=qcow2 -a disk.qcow2 run : mount-options discard /dev/sda1 / : rm-rf /0 : fstrim / : umount /",
    "virt-df -a disk.qcow2", "virt-filesystems -a disk.qcow2 -l", "virt-tar-out -a disk.qcow2 / - | wc -c",
]
_TOOLS = [
    "qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2", "virt-sparsify --tmp $PWD/tmp disk.qcow2 sparse.qcow2",
    "virt-sparsify --tmp $PWD/tmp --compress disk.qcow2 compressed.qcow2", "virt-sparsify --tmp $PWD/tmp --convert raw disk.qcow2 sparse.raw",
    "qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 top.qcow2 && virt-sparsify --tmp $PWD/tmp top.qcow2 flat.qcow2",
    "virt-sparsify --tmp $PWD/tmp -o cluster_size=4k,compat=0.10 disk.raw small.qcow2", "virt-sparsify --in-place disk.qcow2",
    "virt-sparsify --in-place compressed.qcow2",
    "qemu-img create -q -f qcow2 -o preallocation=metadata larger.qcow2 400M && virt-resize --expand /dev/sda1 disk.qcow2 larger.qcow2",
    "truncate -s 400M larger.raw && virt-resize --expand /dev/sda1 disk.qcow2 larger.raw",
    "qemu-img create -q -f qcow2 smaller.qcow2 350M && virt-resize --shrink /dev/sda1 larger.qcow2 smaller.qcow2",
    "virt-make-fs --partition=gpt --type=ext4 --format=qcow2 --size=+20M tree made.qcow2",
    "virt-make-fs --partition=gpt --type=ext4 tree made.raw", "virt-diff -a disk.qcow2 -A sparse.qcow2",
    "virt-format --format=qcow2 -a made.qcow2 --partition=gpt --filesystem=ext4",
]


@contextlib.contextmanager
def _appliance(side):
    """A disk with the machine's files, and the settings for the appliance; it is built by the first side, for both."""
    shared = side.folder.parent / "shared"
    kernel = shared / "kernel"
    if not shared.exists():
        (shared / "tree").mkdir(parents=True)
        real_disk.copy_into(shared / "tree", real_disk.spread(real_disk.machine_files(), 800, 60 * MIB))
        real_disk.make_partitioned_disk(shared / "disk.raw", shared / "tree", 300 * MIB, MIB)
        subprocess.run(["dpkg", "-x", download("linux-image-cloud-amd64", shared), kernel], check=True)
        subprocess.run(["depmod", "-b", kernel, _version(kernel)], check=True)
    subprocess.run(["cp", "--sparse=always", shared / "disk.raw", side.folder], check=True)
    (side.folder / "tree").symlink_to(shared / "tree")
    for name in ("tmp", "work"):
        (side.folder / name).mkdir()
    side.environment.update({
        "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg", "LIBGUESTFS_CACHEDIR": str(shared),
        "SUPERMIN_KERNEL": str(kernel / f"boot/vmlinuz-{_version(kernel)}"), "SUPERMIN_KERNEL_VERSION": _version(kernel),
        "SUPERMIN_MODULES": str(kernel / "lib/modules" / _version(kernel)), "TMPDIR": str(side.folder / "work")})
    made = not _MODULES.exists()
    if made:
        _MODULES.mkdir()
    try:
        yield
    finally:
        if made:
            os.rmdir(_MODULES)


def _version(kernel):
    return next((kernel / "lib/modules").iterdir()).name


_PACKAGES = ["guestfs-tools", "guestfish", "kmod", *QEMU_SYSTEM]
TOOLS = [Tool("guestfish", _PACKAGES, _CREATING + _MOUNTING, ["*.qcow2", "*.raw"], start=_appliance, inside=True),
         Tool("virt-tools", _PACKAGES, _TOOLS, ["*.qcow2", "*.raw"], start=_appliance, inside=True)]
