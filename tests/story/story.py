# SPDX-License-Identifier: Apache-2.0
"""The life of a Debian disk: installed, used, with snapshots, resized, rebased, committed, amended and converted.

There are two copies. Each step is done by byre on one of them and by QEMU on the other, and the next one the other way
round. What the disk and each snapshot must read as is known from raw files, which neither program has written.
"""
import dataclasses
import pathlib
import shutil
import subprocess

import disk
import real_disk
from programs import CLEAN, Failed, check, same

MIB = 1 << 20


@dataclasses.dataclass
class Disk:
    image: str               # in the folder of each copy
    contents: pathlib.Path   # a raw file with what it must read as
    snapshots: dict = dataclasses.field(default_factory=dict)  # name: a raw file


class Story:
    def __init__(self, folder, programs, size, fill):
        self.folder = folder
        self.programs = programs
        self.copies = [folder / "one", folder / "two"]
        for copy in self.copies:
            copy.mkdir()
        self.size = size
        self.fill = fill
        self.steps = 0
        self.rows = []
        self.raw_files = 0
        self.disk = Disk("disk.qcow2", folder / "disk.raw")

    # Steps.

    def step(self, name, *arguments, code=0, tool="qemu-img", send=None):
        """One copy by byre, the other by QEMU; both must say the same."""
        turn = self.programs if self.steps % 2 == 0 else self.programs[::-1]
        self.steps += 1
        results = {program.name: program.run(*arguments, folder=copy, code=code, tool=tool, send=send)
                   for copy, program in zip(self.copies, turn)}
        byre, qemu = results["byre"], results["QEMU"]
        if (byre.out, byre.err) != (qemu.out, qemu.err) and tool == "qemu-img":
            raise Failed(f"{name}: they say different things\n{byre.text()}\n{qemu.text()}")
        try:
            checks = self.look()
        except Failed as failure:
            raise Failed(f"{name} ({self.copies[0].name} by {turn[0].name}):\n{failure}") from failure
        self.rows.append((name, byre.seconds, qemu.seconds, checks))
        print(f"  {name}: byre {byre.seconds:.2f} s, QEMU {qemu.seconds:.2f} s", flush=True)

    def look(self):
        """Both programs read both copies as they should be, and both checks are clean. Each snapshot of a copy is read by one
        of the programs, in turns."""
        checks = 0
        for number, copy in enumerate(self.copies):
            check(self.programs, self.disk.image, copy, CLEAN)
            same(self.programs, self.disk.contents, "raw", self.disk.image, copy)
            checks += 4
            for name, contents in self.disk.snapshots.items():
                reader = self.programs[(number + self.steps) % 2]
                reader.run("convert", "-l", name, "-O", "raw", self.disk.image, "read.raw", folder=copy)
                same_raw(copy / "read.raw", contents, f"snapshot {name}, read by {reader.name}")
                (copy / "read.raw").unlink()
                checks += 1
        return checks

    def keep(self):
        """A copy of what the disk reads as."""
        self.raw_files += 1
        kept = self.folder / f"kept-{self.raw_files}.raw"
        copy_sparse(self.disk.contents, kept)
        return kept

    def use(self, seed):
        """The guest works; what it writes goes to both copies."""
        before = self.keep()
        disk.use(self.disk.contents, self.folder, seed)
        clean_file_system(self.disk.contents)
        patches = self.folder / "patches"
        commands = disk.commands_for(before, self.disk.contents, patches)
        self.step(f"the guest writes: {len(commands)} requests, e2fsck", self.disk.image, tool="qemu-io",
                  send="".join(f"{command}\n" for command in commands))
        shutil.rmtree(patches)
        before.unlink()

    def snapshot(self, name):
        self.disk.snapshots[name] = self.keep()
        self.step(f"snapshot -c {name}", "snapshot", "-c", name, self.disk.image)

    def apply(self, name):
        copy_sparse(self.disk.snapshots[name], self.disk.contents)
        self.step(f"snapshot -a {name}", "snapshot", "-a", name, self.disk.image)

    def delete(self, name):
        self.disk.snapshots.pop(name).unlink()
        self.step(f"snapshot -d {name}", "snapshot", "-d", name, self.disk.image)

    def resize(self, size, *options):
        with open(self.disk.contents, "r+b") as file:
            file.truncate(size)
        self.step(" ".join(["resize", *options, f"{size // MIB}M"]), "resize", *options, self.disk.image, str(size))

    def amend(self, options):
        self.step(f"amend {options}", "amend", "-o", options, self.disk.image)

    def refused(self, *arguments):
        """Both programs refuse it in the same words, and nothing changes."""
        self.step(f"{' '.join(arguments)} (refused)", *arguments, self.disk.image, code=1)

    def convert(self, target, *options):
        source, self.disk = self.disk, Disk(target, self.disk.contents)
        self.step(" ".join(["convert", *options]), "convert", "-O", "qcow2", *options, source.image, target)
        for copy in self.copies:
            (copy / source.image).unlink()

    def beside(self, target, name, *arguments):
        """Another image that reads as the disk does now; the story goes on with it."""
        self.disk = Disk(target, self.keep())
        self.step(name, *arguments, target)

    # The story.

    def tell(self):
        self.installed()
        self.with_snapshots()
        self.with_versions()
        self.with_overlays()
        self.compressed()
        self.at_the_end()

    def installed(self):
        disk.make(self.disk.contents, self.folder, self.size, self.fill)
        clean_file_system(self.disk.contents)
        for copy in self.copies:
            (copy / "disk.raw").symlink_to(self.disk.contents)
        self.step("convert from raw", "convert", "-f", "raw", "-O", "qcow2", "disk.raw", self.disk.image)

    def with_snapshots(self):
        self.snapshot("installed")
        self.use(1)
        self.snapshot("used")
        self.use(2)
        self.resize(self.size + 1024 * MIB)
        self.snapshot("larger")
        self.apply("used")
        self.use(3)
        self.apply("larger")
        self.delete("used")
        self.use(4)

    def with_versions(self):
        self.amend("refcount_bits=64")
        self.amend("refcount_bits=16")
        self.amend("lazy_refcounts=on")
        self.use(5)
        self.amend("lazy_refcounts=off")
        self.apply("larger")
        self.delete("larger")
        self.delete("installed")
        self.amend("compat=0.10")
        self.use(6)
        self.snapshot("old")
        self.use(7)
        self.refused("amend", "-o", "refcount_bits=32")
        self.amend("compat=1.1")
        self.delete("old")
        self.resize(self.size, "--shrink")
        self.resize(self.size + 512 * MIB, "--preallocation=metadata")

    def with_overlays(self):
        base = self.disk
        self.beside("other.qcow2", "convert to another disk", "convert", "-O", "qcow2", base.image)
        self.use(8)
        other, self.disk = self.disk, base
        self.beside("top.qcow2", "create -b", "create", "-q", "-f", "qcow2", "-b", base.image, "-F", "qcow2")
        self.use(9)
        top = self.disk.image
        self.step("rebase", "rebase", "-b", other.image, "-F", "qcow2", top)
        self.use(10)
        self.step("commit -d", "commit", "-q", "-d", top)
        self.step("rebase -c", "rebase", "-c", "-b", base.image, "-F", "qcow2", top)
        self.step("rebase -b ''", "rebase", "-b", "", top)
        self.snapshot("alone")
        self.use(11)
        self.apply("alone")
        self.delete("alone")
        self.use(12)
        self.step("rebase to the first disk", "rebase", "-b", base.image, "-F", "qcow2", top)
        self.use(13)
        self.step("commit", "commit", "-q", top)
        base.contents = self.disk.contents
        self.disk = base
        for copy in self.copies:
            (copy / top).unlink()
            (copy / other.image).unlink()
        self.use(14)

    def compressed(self):
        self.convert("zlib.qcow2", "-c")
        self.use(15)
        self.convert("zstd.qcow2", "-c", "-o", "compression_type=zstd,cluster_size=128k,extended_l2=on")
        self.use(16)
        self.snapshot("compressed")
        self.use(17)
        self.apply("compressed")
        self.delete("compressed")
        self.convert("old.qcow2", "-o", "compat=0.10,cluster_size=4k")
        self.use(18)
        self.convert("last.qcow2", "-o", "cluster_size=2M,refcount_bits=8")

    def at_the_end(self):
        """Raw again, by each program."""
        for copy, program in zip(self.copies, self.programs):
            program.run("convert", "-O", "raw", self.disk.image, "end.raw", folder=copy)
            same_raw(copy / "end.raw", self.disk.contents, f"the raw disk of {program.name}")
            clean_file_system(copy / "end.raw")

    def table(self):
        width = max(len(row[0]) for row in self.rows)
        print(f"\n{'step':{width}}  {'byre':>8}  {'QEMU':>8}  checks")
        for name, byre, qemu, checks in self.rows:
            print(f"{name:{width}}  {byre:6.2f} s  {qemu:6.2f} s  {checks:6}")
        total = sum(row[3] for row in self.rows)
        print(f"\nEach step once with byre and once with QEMU, on two copies in turns; {total} comparisons and checks by both programs.")


def copy_sparse(source, target):
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def clean_file_system(raw):
    clean, told = real_disk.file_system_is_clean(raw, real_disk.PARTITION_OFFSET)
    if not clean:
        raise Failed(told)


def same_raw(one, other, what):
    """Two files with the same bytes, as far as the shorter goes; the rest of the longer is a hole or zeroes."""
    lengths = sorted(path.stat().st_size for path in (one, other))
    places = {place for path in (one, other) for start, end in disk.extents(path) for place in range(start, end, disk.BLOCK)}
    with open(one, "rb") as first, open(other, "rb") as second:
        for place in sorted(places):
            pair = []
            for file in (first, second):
                file.seek(place)
                pair.append(file.read(disk.BLOCK).ljust(disk.BLOCK, b"\0"))
            if pair[0] != pair[1]:
                raise Failed(f"{what}: other bytes at {place} (of {lengths})")
