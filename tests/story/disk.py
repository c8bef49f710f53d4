# SPDX-License-Identifier: Apache-2.0
"""A disk with Debian: a partition table, ext4, a minimal system from debootstrap, and many of the machine's files. Then what a
guest would do with it: files are added, rewritten and removed, and free space is discarded."""
import contextlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import real_disk  # noqa: E402  (in the directory of the benchmarks)

MIB = 1 << 20
BLOCK = 64 * 1024
_TAIL = MIB


def debian_mirror():
    """Where this machine gets Debian from."""
    for path in [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]:
        found = path.is_file() and re.search(r"(?m)^(?:URIs: *|deb +(?:\[[^]]*\] +)?)(\S+/debian/?)(?:\s|$)", path.read_text())
        if found:
            return found.group(1)
    raise SystemExit("no source of Debian's packages in /etc/apt")


def make(path, folder, size, fill):
    """An ext4 partition with Debian, and `fill` bytes of the machine's files."""
    release = re.search(r"(?m)^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text()).group(1)
    stage = folder / "stage"
    subprocess.run(["debootstrap", "--variant=minbase", release, stage, debian_mirror()], check=True, stdout=subprocess.DEVNULL)
    real_disk.copy_into(stage / "srv", real_disk.spread(real_disk.machine_files(), 20000, fill))
    real_disk.make_partitioned_disk(path, stage, size, _TAIL)
    shutil.rmtree(stage)


@contextlib.contextmanager
def mounted(path, folder):
    place = folder / "mounted"
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", f"loop,discard,offset={real_disk.PARTITION_OFFSET}", path, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def use(path, folder, seed):
    """What a guest does between two snapshots."""
    choice = random.Random(seed)
    with mounted(path, folder) as root:
        trees = sorted(path for path in (root / "srv").glob("*/usr/*/*") if path.is_dir() and _size(path) < 32 * MIB)
        shutil.copytree(choice.choice(trees), root / f"srv/copied-{seed}", symlinks=True)
        for tree in choice.sample(trees, len(trees) // 20 + 1):
            shutil.rmtree(tree, ignore_errors=True)
        database = root / "var/lib/database"
        with open(database, "r+b" if database.exists() else "w+b") as file:
            file.truncate(64 * MIB)
            for _ in range(400):
                file.seek(choice.randrange(0, 64 * MIB, 4096))
                file.write(choice.randbytes(4096))
        with open(root / "var/log/story.log", "ab") as file:
            file.write(b"".join(b"%d: a line of a log\n" % (seed * 100000 + number) for number in range(50000)))
        subprocess.run(["fstrim", root], check=False)


def _size(tree):
    return sum(path.lstat().st_size for path in tree.rglob("*"))


def extents(path):
    """[(start, end)] of what is no hole, in whole blocks."""
    found = []
    size = path.stat().st_size
    file = os.open(path, os.O_RDONLY)
    try:
        place = 0
        while place < size:
            try:
                start = os.lseek(file, place, os.SEEK_DATA)
            except OSError:
                break
            place = os.lseek(file, start, os.SEEK_HOLE)
            found.append((start // BLOCK * BLOCK, min(-(-place // BLOCK) * BLOCK, size)))
    finally:
        os.close(file)
    return found


def changes(old, new):
    """[(offset, length, is zero)] of the runs of blocks that are different."""
    runs = []
    candidates = sorted({place for path in (old, new) for start, end in extents(path) for place in range(start, end, BLOCK)})
    with open(old, "rb") as before, open(new, "rb") as after:
        for place in candidates:
            before.seek(place)
            after.seek(place)
            data = after.read(BLOCK)
            if before.read(BLOCK) == data:
                continue
            is_zero = not any(data)
            if runs and runs[-1][0] + runs[-1][1] == place and runs[-1][2] == is_zero and runs[-1][1] < 64 * BLOCK:
                runs[-1] = (runs[-1][0], runs[-1][1] + len(data), is_zero)
            else:
                runs.append((place, len(data), is_zero))
    return runs


def commands_for(old, new, folder):
    """Commands of qemu-io that make `old` into `new`; the data is in files in `folder`."""
    commands = []
    folder.mkdir(exist_ok=True)
    with open(new, "rb") as file:
        for number, (offset, length, is_zero) in enumerate(changes(old, new)):
            if is_zero:
                commands.append(f"write -q -z -u {offset} {length}")
                continue
            file.seek(offset)
            (folder / str(number)).write_bytes(file.read(length))
            commands.append(f"write -q -s {folder / str(number)} {offset} {length}")
    return commands
