# SPDX-License-Identifier: Apache-2.0
"""Real disks made without root: ext4 file systems full of this machine's own files."""
import os
import pathlib
import shutil
import subprocess

MIB = 1 << 20
PARTITION_OFFSET = MIB
_TREES = ("/usr/bin", "/usr/lib", "/usr/share", "/usr/include", "/usr/sbin", "/etc")
_FILE_SIZE_MAX = 24 * MIB


def tool(name):
    """A program that a user's PATH may lack: sfdisk and mkfs.ext4 are in /usr/sbin."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise SystemExit(f"{name} is not installed; scripts/setup installs it")
    return path


def machine_files():
    """[(path, size)] of readable regular files of this machine, in a fixed order."""
    found = []
    for tree in _TREES:
        for folder, folders, names in os.walk(tree):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path) or not os.access(path, os.R_OK):
                    continue
                size = os.path.getsize(path)
                if 0 < size <= _FILE_SIZE_MAX:
                    found.append((path, size))
    return found


def spread(files, count_max, bytes_max):
    """A selection of the files: some taken evenly from all of them, then the largest, up to bytes_max."""
    step = max(1, len(files) // count_max)
    even = files[::step]
    taken_evenly = set(even)
    rest = sorted((entry for entry in files if entry not in taken_evenly), key=lambda entry: -entry[1])
    chosen, taken = [], 0
    for path, size in even + rest:
        if taken + size <= bytes_max:
            chosen.append((path, size))
            taken += size
    return chosen


def copy_into(stage, files, number=0):
    """Copies files to `stage`. Copies with a number above 0 are varied: a stamp at every 16 KiB, so that no two have
    the same clusters, while they compress as before."""
    taken = 0
    for path, size in files:
        target = pathlib.Path(f"{stage}/{number}{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = bytearray(pathlib.Path(path).read_bytes())
        except OSError:
            continue
        if number:
            for offset in range(0, len(data), 16384):
                stamp = b"%08x" % (number * 2654435761 + offset & 0xFFFFFFFF)
                data[offset:offset + 8] = stamp
        target.write_bytes(data)
        taken += size
    return taken


def make_file_system(path, stage, size, offset=0):
    """An ext4 file system of `size` bytes inside the file, filled from a folder."""
    extended = f"offset={offset}," if offset else ""
    subprocess.run([tool("mkfs.ext4"), "-q", "-F", "-E", f"{extended}root_owner=0:0,lazy_itable_init=0",
                    "-U", "6b796279-7265-4f6f-9f6f-6d61646562d1", "-L", "byre", "-d", str(stage), str(path),
                    f"{size // 1024}k"], check=True, stdout=subprocess.DEVNULL)


def make_partitioned_disk(path, stage, size, tail):
    """A disk with a GPT and one ext4 partition; `tail` bytes at the end belong to no partition."""
    with open(path, "wb") as file:
        file.truncate(size)
    file_system = size - PARTITION_OFFSET - tail
    table = ("label: gpt\nlabel-id: 6B796279-7265-4F6F-9F6F-6D61646562D0\n"
             f"start={PARTITION_OFFSET // 512}, size={file_system // 512}, type=linux, name=byre\n")
    subprocess.run([tool("sfdisk"), "-q", str(path)], input=table.encode(), check=True,
                   stdout=subprocess.DEVNULL)
    make_file_system(path, stage, file_system, PARTITION_OFFSET)


def file_system_is_clean(path, offset=0):
    name = f"{path}?offset={offset}" if offset else str(path)
    result = subprocess.run([tool("e2fsck"), "-f", "-n", name], capture_output=True, text=True, check=False)
    return result.returncode == 0, result.stdout + result.stderr


def read_file_inside(path, name, offset=0):
    """The bytes of a file of the file system, read without mounting it."""
    disk = f"{path}?offset={offset}" if offset else str(path)
    return subprocess.run([tool("debugfs"), "-R", f'cat "{name}"', disk], capture_output=True,
                          check=True).stdout
