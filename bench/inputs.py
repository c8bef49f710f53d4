# SPDX-License-Identifier: Apache-2.0
"""The images that bench/run.py measures with: each is created when a job first asks for it, and kept."""
import shutil
import subprocess
import sys

import real_disk
from real_disk import MIB

DISK_SIZE = 4096 * MIB
CONTENT = 3300 * MIB
COMPRESS_ZSTD = ["-c", "-o", "compression_type=zstd"]
SNAPSHOTS = 64
HISTORY = 8


class Inputs:
    """{name: path}, as a mapping for str.format_map()."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.makers = {"raw": self._raw, "raw_copy": self._raw_copy, "qcow2": self._converted,
                       "deflate": self._converted, "zstd": self._converted, "mapped": self._mapped,
                       "snapshots": self._snapshots, "gibibyte": self._gibibyte, "shifted": self._gibibyte,
                       "sibling": self._sibling, "history": self._history}

    def __getitem__(self, name):
        path = self.folder / {"raw": "disk.raw", "raw_copy": "copy.raw"}.get(name, f"{name}.qcow2")
        if not path.exists():
            print(f"making {path.name}, which is kept", file=sys.stderr)
            partial = self.folder / "input.new"
            partial.unlink(missing_ok=True)
            self.makers[name](name, partial)
            partial.rename(path)
        return path

    def _raw(self, _, path):
        """A file system of 4 GiB, full of real files."""
        if shutil.disk_usage(self.folder).free < 24 << 30:
            sys.exit(f"scripts/bench needs 24 GiB in {self.folder}")
        stage = self.folder / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        files = real_disk.spread(real_disk.machine_files(), 10000, 1100 * MIB)
        taken, number = 0, 0
        while taken < CONTENT:
            part = files if taken + 1100 * MIB <= CONTENT else real_disk.spread(files, len(files), CONTENT - taken)
            copied = real_disk.copy_into(stage, part, number)
            if copied < MIB:
                break
            taken, number = taken + copied, number + 1
        with open(path, "wb") as file:
            file.truncate(DISK_SIZE)
        real_disk.make_file_system(path, stage, DISK_SIZE)
        shutil.rmtree(stage)

    def _raw_copy(self, _, path):
        """The same bytes in different pages of the page cache: reading the same file a second time is faster."""
        subprocess.run(["cp", "--sparse=always", self["raw"], path], check=True)

    def _converted(self, name, path):
        options = {"qcow2": [], "deflate": ["-c"], "zstd": COMPRESS_ZSTD}[name]
        raw = self["raw"]
        path.unlink(missing_ok=True)
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, path], check=True)

    def _gibibyte(self, name, path):
        """1 GiB of the disk; `shifted` has other bytes at nearly every offset."""
        skip = {"gibibyte": 256, "shifted": 257}[name]
        subprocess.run(["qemu-img", "dd", "-f", "raw", "-O", "qcow2", "bs=1M", f"skip={skip}", f"count={skip + 1024}",
                        f"if={self['raw']}", f"of={path}"], check=True)

    def _sibling(self, _, path):
        """`gibibyte` with 4 MiB changed, as an overlay of it."""
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", self["gibibyte"], "-F", "qcow2", path], check=True)
        subprocess.run(["qemu-io", "-c", "write -P 7 100M 1M", "-c", "write -P 8 700M 3M", path], check=True,
                       stdout=subprocess.DEVNULL)

    def _mapped(self, _, path):
        """1 TiB with every cluster mapped; they are holes of the file."""
        make_mapped(path, 1 << 40)

    def _snapshots(self, _, path):
        """200 GiB with every cluster mapped, and internal snapshots that share them all."""
        make_mapped(path, 200 << 30)
        for number in range(SNAPSHOTS):
            subprocess.run(["qemu-img", "snapshot", "-c", f"snapshot {number}", path], check=True)


    def _history(self, _, path):
        """The disk with internal snapshots, between which a little was written in many places."""
        shutil.copyfile(self["qcow2"], path)
        for number in range(HISTORY):
            writes = [f"write -q -P {number + 1} {place * 64 + number * 8}M 1M" for place in range(64)]
            commands = [word for write in writes for word in ("-c", write)]
            subprocess.run(["qemu-img", "snapshot", "-c", f"snapshot {number}", path], check=True)
            subprocess.run(["qemu-io", *commands, path], check=True, stdout=subprocess.DEVNULL)


def make_mapped(path, size):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, str(size)],
                   check=True)
