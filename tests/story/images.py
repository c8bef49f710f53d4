# SPDX-License-Identifier: Apache-2.0
"""Images for commands that are interrupted or run out of space: a disk of the machine's files, and changes to it."""
import pathlib
import random
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

import real_disk  # noqa: E402  (in the directory of the benchmarks)
from programs import check  # noqa: E402

MIB = 1 << 20
DISK = 256 * MIB


def make(folder, programs):
    """base, other: two disks that differ in parts; top: an overlay of base; zeroes: an overlay that is mostly zero clusters;
    small: as top reads, with clusters of 4 KiB and an internal snapshot `first` that reads as base; old: small in version 2.
    X.raw has what X.qcow2 reads as."""
    byre, qemu = programs
    stage = folder / "stage"
    real_disk.copy_into(stage, real_disk.spread(real_disk.machine_files(), 1500, 160 * MIB))
    real_disk.make_partitioned_disk(folder / "base.raw", stage, DISK, MIB)
    shutil.rmtree(stage)
    for name in ("base", "other", "small"):
        small = ("-o", "cluster_size=4k") if name == "small" else ()
        qemu.run("convert", "-f", "raw", "-O", "qcow2", *small, "base.raw", f"{name}.qcow2", folder=folder)
    write(qemu, folder, "other.qcow2", changes(1, 300))
    qemu.run("snapshot", "-c", "first", "small.qcow2", folder=folder)
    write(qemu, folder, "small.qcow2", changes(2, 500))
    for name, seed, share in (("top", 2, 0.2), ("zeroes", 3, 0.9)):
        qemu.run("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", f"{name}.qcow2", folder=folder)
        write(qemu, folder, f"{name}.qcow2", changes(seed, 500, share))
    shutil.copy(folder / "small.qcow2", folder / "old.qcow2")
    # Not by QEMU, which would overwrite data of the snapshot: see docs/differences-from-qemu.md.
    byre.run("amend", "-o", "compat=0.10", "old.qcow2", folder=folder)
    for name in ("other", "top", "zeroes", "small"):
        qemu.run("convert", "-O", "raw", f"{name}.qcow2", f"{name}.raw", folder=folder)
    for path in folder.glob("*.qcow2"):
        check(programs, path.name, folder)


def changes(seed, count, zeroes=0.2):
    """Commands of qemu-io: data and zeroes at random places, from a few sectors to some clusters."""
    choice = random.Random(seed)
    commands = []
    for _ in range(count):
        length = choice.choice((4, 12, 64, 100, 256, 512)) * 1024
        offset = choice.randrange(0, DISK - length, 4096)
        commands.append(f"write -z {offset} {length}" if choice.random() < zeroes else f"write -P {choice.randrange(1, 256)} {offset} {length}")
    return commands


def write(program, folder, name, commands):
    program.run(name, folder=folder, tool="qemu-io", send="".join(f"{command}\n" for command in commands))


def copy(source, target, *names):
    """Fresh copies of images, with their holes."""
    for path in target.iterdir():
        path.unlink()
    for name in names:
        subprocess.run(["cp", "--sparse=always", source / name, target], check=True)
