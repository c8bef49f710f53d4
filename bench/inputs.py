# SPDX-License-Identifier: Apache-2.0
"""The images that bench/run.py measures with: each is created when a job first asks for it, and kept."""
import shutil
import subprocess
import sys

import real_disk
from real_disk import MIB

GIB = 1 << 30
DISK_SIZE = 4096 * MIB
CONTENT = 3300 * MIB
COMPRESS_ZSTD = ["-c", "-o", "compression_type=zstd"]
SNAPSHOTS = 64
HISTORY = 8


class Inputs:
    """{name: path}, as a mapping for str.format_map()."""

    def __init__(self, folder):
        self.folder = folder
        self.base = folder / "base.qcow2"  # of {runs_...}, and not kept
        folder.mkdir(parents=True, exist_ok=True)
        self.makers = {"raw": self._raw, "raw_copy": self._raw_copy, "qcow2": self._converted,
                       "deflate": self._converted, "zstd": self._converted, "mapped": self._mapped,
                       "disk": self._disk, "snapshot": self._snapshot, "snapshots": self._snapshots,
                       "runs_64k": self._runs, "runs_1m": self._runs, "gibibyte": self._gibibyte, "shifted": self._gibibyte,
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

    def _disk(self, _, path):
        """200 GiB with every cluster mapped."""
        make_mapped(path, 200 * GIB)

    def _snapshot(self, _, path):
        """The same with an internal snapshot `last`, after which 64 MiB were written in 64 places."""
        make_mapped(path, 200 * GIB)
        make_last_snapshot(path)

    def _snapshots(self, _, path):
        """The same after 63 snapshots that share everything."""
        make_mapped(path, 200 * GIB)
        for number in range(SNAPSHOTS - 1):
            subprocess.run(["qemu-img", "snapshot", "-c", f"snapshot {number}", path], check=True)
        make_last_snapshot(path)

    def _runs(self, name, path):
        """An overlay of `base` with 1 GiB in runs of one length, each after a gap of three times that length."""
        length = {"runs_64k": 64 << 10, "runs_1m": MIB}[name]
        make_empty(self.base)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", self.base, "-F", "qcow2", path], check=True)
        writes = "".join(f"write -q -P {number % 255 + 1} {4 * number * length} {length}\n"
                         for number in range((1 << 30) // length))
        subprocess.run(["qemu-io", path], check=True, input=writes.encode(), stdout=subprocess.DEVNULL)

    def _history(self, _, path):
        """The disk with internal snapshots, between which a little was written in many places."""
        shutil.copyfile(self["qcow2"], path)
        for number in range(HISTORY):
            writes = [f"write -q -P {number + 1} {place * 64 + number * 8}M 1M" for place in range(64)]
            commands = [word for write in writes for word in ("-c", write)]
            subprocess.run(["qemu-img", "snapshot", "-c", f"snapshot {number}", path], check=True)
            subprocess.run(["qemu-io", *commands, path], check=True, stdout=subprocess.DEVNULL)


def make_empty(path):
    """An image to commit to."""
    path.unlink(missing_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(DISK_SIZE)], check=True)


def make_last_snapshot(path):
    subprocess.run(["qemu-img", "snapshot", "-c", "last", path], check=True)
    writes = "".join(f"write -q -P 7 {3 * number}G 1M\n" for number in range(64))
    subprocess.run(["qemu-io", path], check=True, input=writes.encode(), stdout=subprocess.DEVNULL)


def make_mapped(path, size):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, str(size)],
                   check=True)
