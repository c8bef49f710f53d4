#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Converts a real disk with byre and shows the results; scripts/demo calls it.

Every step is checked: by `byre check`, by `qemu-img check`, by `byre compare`, and by the SHA-256 of the whole disk
when it is raw again. Exits with 1 at the first failure.
"""
import argparse
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import real_disk
from real_disk import MIB, PARTITION_OFFSET

ROOT = pathlib.Path(__file__).resolve().parent.parent
DISK_SIZE = 1280 * MIB
TAIL = 8 * MIB
SPACE_NEEDED = 5 << 30
# What is written to the overlay, outside the partition, so that the file system stays intact: (offset, length, byte).
WRITES = [(512 * 1024, 70000 // 512 * 512, 0xB1), (DISK_SIZE - TAIL + 65536, 3 * MIB, 0xB2),
          (DISK_SIZE - 2 * MIB - 512, 1024, 0xB3)]


class CheckFailed(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise CheckFailed(message)


def amount(size):
    return f"{size / MIB:,.0f} MiB" if size >= 10 * MIB else f"{size / 1024:,.0f} KiB"


def digest(path, patches=()):
    """SHA-256 of a file after applying patches [(offset, bytes)]."""
    found = hashlib.sha256()
    place = 0
    with open(path, "rb") as file:
        while chunk := bytearray(file.read(4 * MIB)):
            for offset, data in patches:
                first, last = max(offset, place), min(offset + len(data), place + len(chunk))
                if first < last:
                    chunk[first - place:last - place] = data[first - offset:last - offset]
            found.update(chunk)
            place += len(chunk)
    return found.hexdigest()


class Demo:
    def __init__(self, programs, folder):
        self.byre = programs / "byre"
        self.qemu_img = real_disk.tool("qemu-img")
        self.qemu_io = real_disk.tool("qemu-io")
        self.folder = folder
        self.rows = []
        self.checks = 0

    def run(self, program, *arguments, code=0):
        begin = time.monotonic()
        result = subprocess.run([program, *map(str, arguments)], cwd=self.folder, capture_output=True,
                                text=True, check=False)
        seconds = time.monotonic() - begin
        expect(result.returncode == code,
               f"{pathlib.Path(program).name} {' '.join(map(str, arguments))} ended with {result.returncode}, "
               f"not {code}:\n{result.stdout}{result.stderr}")
        return result.stdout, seconds

    def row(self, step, name, seconds, checked):
        status = (self.folder / name).stat()
        self.rows.append((step, amount(status.st_blocks * 512), f"{seconds:.1f} s", checked))
        print(f"  {step}: {checked}", flush=True)

    def check_images(self, name, same_as=None):
        """Both programs find the image clean, and byre finds it equal to another."""
        self.run(self.byre, "check", name)
        self.run(self.qemu_img, "check", name)
        self.checks += 2
        if same_as:
            self.run(self.byre, "compare", same_as, name)
            self.run(self.qemu_img, "compare", same_as, name)
            self.checks += 2

    def check(self, condition, message):
        expect(condition, message)
        self.checks += 1

    def make_disk(self):
        begin = time.monotonic()
        stage = self.folder / "stage"
        files = real_disk.spread(real_disk.machine_files(), 5000, 750 * MIB)
        expect(len(files) >= 1000, f"only {len(files)} files of this machine can be read")
        real_disk.copy_into(stage, files)
        real_disk.make_partitioned_disk(self.folder / "disk.raw", stage, DISK_SIZE, TAIL)
        shutil.rmtree(stage)
        clean, told = real_disk.file_system_is_clean(self.folder / "disk.raw", PARTITION_OFFSET)
        self.check(clean, told)
        self.row("a real disk", "disk.raw", time.monotonic() - begin,
                 f"{DISK_SIZE // MIB} MiB, GPT, ext4 with {len(files)} files of this machine; e2fsck: clean")
        return files

    def convert(self, step, source, target, *options):
        _, seconds = self.run(self.byre, "convert", *options, source, target)
        if "raw" not in options[options.index("-O") + 1]:
            self.check_images(target, same_as="disk.raw")
            self.row(step, target, seconds, "byre check, qemu-img check: clean; both compare: same as the disk")
        return seconds

    def overlay(self):
        _, seconds = self.run(self.byre, "create", "-q", "-f", "qcow2", "-b", "deflate.qcow2", "-F", "qcow2",
                              "overlay.qcow2")
        commands = []
        for offset, length, byte in WRITES:
            commands += ["-c", f"write -P {byte} {offset} {length}"]
        self.run(self.qemu_io, *commands, "overlay.qcow2")
        self.check_images("overlay.qcow2")
        told, _ = self.run(self.byre, "compare", "disk.raw", "overlay.qcow2", code=1)
        self.check(f"offset {WRITES[0][0]}" in told, f"compare does not tell where: {told}")
        own = [extent for extent in json.loads(self.run(self.byre, "map", "--output=json", "overlay.qcow2")[0])
               if extent["depth"] == 0 and extent["data"]]
        self.check(len(own) == len(WRITES), f"the overlay should have {len(WRITES)} pieces: {own}")
        self.row("an overlay on the deflated", "overlay.qcow2", seconds,
                 "QEMU wrote into it; check: clean; map shows what was written and no more")

    def back(self, files):
        seconds = self.convert("", "zstd.qcow2", "back.raw", "-O", "raw")
        wanted = digest(self.folder / "disk.raw")
        self.check(digest(self.folder / "back.raw") == wanted, "back.raw is not the disk")
        self.row("zstd back to raw", "back.raw", seconds, f"SHA-256 as before: {wanted[:16]}...")
        (self.folder / "back.raw").unlink()

        seconds = self.convert("", "overlay.qcow2", "back.raw", "-O", "raw")
        wanted = digest(self.folder / "disk.raw",
                        [(offset, bytes([byte]) * length) for offset, length, byte in WRITES])
        self.check(digest(self.folder / "back.raw") == wanted, "the overlay's disk has other bytes")
        clean, told = real_disk.file_system_is_clean(self.folder / "back.raw", PARTITION_OFFSET)
        self.check(clean, told)
        path = max(files[:200], key=lambda entry: entry[1])[0]
        inside = real_disk.read_file_inside(self.folder / "back.raw", f"/0{path}", PARTITION_OFFSET)
        self.check(inside == pathlib.Path(path).read_bytes(), f"{path} has other bytes inside the disk")
        self.row("the overlay to raw", "back.raw", seconds,
                 f"SHA-256 as computed; e2fsck: clean; {path} read back")

    def table(self):
        heads = ("step", "on the disk", "time", "checked")
        widths = [max(len(row[column]) for row in [heads, *self.rows]) for column in range(4)]
        print()
        for row in (heads, tuple("-" * width for width in widths), *self.rows):
            print(f"{row[0]:{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip())


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bin",
                        help="the folder that has byre (default: build/release/bin)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the images")
    arguments = parser.parse_args()

    base = ROOT / "build"
    base.mkdir(exist_ok=True)
    free = shutil.disk_usage(base).free
    if free < SPACE_NEEDED:
        sys.exit(f"scripts/demo needs {SPACE_NEEDED >> 30} GiB in {base}; {free >> 20} MiB are free")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="demo-", dir=base))
    demo = Demo(arguments.programs.resolve(), folder)
    print("byre converts a real disk to qcow2 and back:")
    try:
        files = demo.make_disk()
        demo.convert("raw to qcow2", "disk.raw", "plain.qcow2", "-f", "raw", "-O", "qcow2")
        demo.convert("qcow2 to deflate", "plain.qcow2", "deflate.qcow2", "-O", "qcow2", "-c")
        demo.convert("qcow2 to zstd", "plain.qcow2", "zstd.qcow2", "-O", "qcow2", "-c", "-o",
                     "compression_type=zstd")
        demo.overlay()
        demo.back(files)
    except CheckFailed as failure:
        print(f"\nFAILED: {failure}")
        return 1
    finally:
        if arguments.keep:
            print(f"the images are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    demo.table()
    print(f"\nAll {demo.checks} checks passed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
