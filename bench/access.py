# SPDX-License-Identifier: Apache-2.0
"""Reading and writing through the engine, request by request: byre's devices (device_bench), QEMU's (`qemu-img bench`)
and a raw file through byre's devices, with the same offsets for all three. bench/run.py calls it.

qemu-img bench has no random offsets; an odd multiple of the request's size as the step between them visits every
block of a disk once, far from the previous one.
"""
import dataclasses
import os
import random
import re
import statistics
import subprocess
import sys

import page_cache
from inputs import make_mapped

KIB = 1024
GIB = 1 << 30
DISK = GIB                # size of the images that hold data
EMPTY_DISK = 16 * GIB     # size of those that requests allocate in
LARGE_DISK = 1024 * GIB
FULL_IMAGES = {"raw", "qcow2", "extended"}
STRIDE = 4 * KIB * 100003
CLUSTER_STRIDE = 64 * KIB * 20011
LARGE_STRIDE = 4 * KIB * 393241  # each request misses the cache of L2 tables

# QEMU's default, and flags that are considered its best. The page cache is bypassed only if each request waits for the
# disk anyway: otherwise the cached case is measured.
QEMU_FLAGS = [[], ["-i", "io_uring"]]
QEMU_DIRECT_FLAGS = [["-t", "none", "-i", "native"], ["-t", "none", "-i", "io_uring"]]


@dataclasses.dataclass
class Access:
    image: str          # which input, or "empty"/"empty extended": created anew for each run
    count: int
    arguments: list
    depth: int = 1
    raw: str = "raw"    # the raw file that it is compared with


def small(image, depth, count, *more):
    return Access(image, count, ["-s", "4096", "-S", str(STRIDE), *more], depth)


def jobs():
    """name -> Access"""
    found = {}
    for image, suffix in (("qcow2", ""), ("extended", ", extended L2")):
        for depth in (1, 32):
            found[f"read 4 KiB, depth {depth}{suffix}"] = small(image, depth, 400000)
            found[f"overwrite 4 KiB, depth {depth}{suffix}"] = small(image, depth, 200000, "-w")
            empty = "empty extended" if image == "extended" else "empty"
            found[f"allocate by 4 KiB, depth {depth}{suffix}"] = Access(
                empty, 16384, ["-s", "4096", "-S", str(CLUSTER_STRIDE), "-o", "8192", "-w"], depth, "empty raw")
    for name, image, raw, more in (("read", "qcow2", "raw", []), ("overwrite", "qcow2", "raw", ["-w"]),
                                   ("allocate by", "empty", "empty raw", ["-w"])):
        found[f"{name} 1 MiB in sequence"] = Access(image, 1024, ["-s", str(KIB * KIB), *more], 8, raw)
    flush = ["-w", "--flush-interval", "1"]
    found["overwrite 4 KiB, flush after each"] = small("qcow2", 1, 300, *flush)
    found["allocate by 4 KiB, flush after each"] = Access(
        "empty", 300, ["-s", "4096", "-S", str(CLUSTER_STRIDE), *flush], 1, "empty raw")
    for depth in (1, 32):
        found[f"read 4 KiB of 1 TiB, depth {depth}"] = Access(
            "large", 50000, ["-s", "4096", "-S", str(LARGE_STRIDE)], depth, "large raw")
    return found


def in_turn(variants, number):
    """The items in an order that differs in each round, but is the same in each run: what ran before decides how much
    memory the host of a virtual machine has yet to provide."""
    items = list(variants.items())
    random.Random(number).shuffle(items)
    return items


def seconds_told(output):
    """Parses the last line of device_bench and qemu-img bench."""
    return float(re.search(r"Run completed in ([0-9.]+) seconds", output).group(1))


class AccessBench:
    def __init__(self, folder, device_bench, runner):
        self.folder = folder
        self.runner = runner
        self.device_bench = device_bench

    def _path(self, image):
        return self.folder / f"access-{image.replace(' ', '-')}"

    def _make(self, image):
        """Those with data are created once and kept."""
        path = self._path(image)
        if image.startswith("empty"):
            path.unlink(missing_ok=True)
        elif path.exists():
            return path
        create = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if image in ("raw", "empty raw", "large raw"):
            with open(path, "wb") as file:
                size = {"raw": DISK, "empty raw": EMPTY_DISK, "large raw": LARGE_DISK}[image]
                for _ in range(DISK // (1 << 20) if image == "raw" else 0):
                    file.write(b"\x5a" * (1 << 20))
                file.truncate(size)
        elif image.startswith("empty"):
            more = ["-o", "extended_l2=on"] if image.endswith("extended") else []
            subprocess.run([*create, *more, path, str(EMPTY_DISK)], check=True)
        elif image == "large":
            make_mapped(path, LARGE_DISK)
        else:
            more = ["-o", "extended_l2=on"] if image == "extended" else []
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *more, self._make("raw"), path],
                           check=True)
        return path

    def measure(self, program, job, image, flags=()):
        path = self._make(image)
        with open(path, "rb") as file:  # what the previous run left to be written
            os.fsync(file.fileno())
        image_format = "raw" if "raw" in image else "qcow2"
        command = [*program, "-f", image_format, *flags, "-d", str(job.depth), "-c", str(job.count), *job.arguments,
                   path]
        run = self.runner.run(command)
        return {"wall": seconds_told(run.output) / job.count, "cpu": run.cpu / job.count}

    def run(self, job, rounds):
        """{"byre": [figures], "raw": [...], "QEMU": [...], "QEMU <flags>": [...]}, each per request, in seconds."""
        variants = {"byre": ([self.device_bench], job.image, []), "raw": ([self.device_bench], job.raw, [])}
        for flags in QEMU_FLAGS + (QEMU_DIRECT_FLAGS if "--flush-interval" in job.arguments else []):
            variants[" ".join(["QEMU", *flags])] = (["qemu-img", "bench"], job.image, flags)
        self.prepare(job)
        for program, image, flags in variants.values():
            self.measure(program, dataclasses.replace(job, count=min(job.count, 100)), image, flags)
        found = {name: [] for name in variants}
        for number in range(rounds):
            for name, (program, image, flags) in in_turn(variants, number):
                try:
                    if name in found:
                        found[name].append(self.measure(program, job, image, flags))
                except RuntimeError as failure:
                    if not flags:
                        raise
                    # QEMU's io_uring ends some long runs with a signal.
                    print(f"left out: {failure}", file=sys.stderr)
                    del found[name]
        self.clean()
        return found

    def prepare(self, job):
        """Brings what the job reads into the page cache, in folios of one size."""
        for image in {job.image, job.raw} & FULL_IMAGES:
            page_cache.write_afresh(self._make(image), 64 * KIB)

    def clean(self):
        for image in ("empty", "empty extended", "empty raw"):
            self._path(image).unlink(missing_ok=True)


def _median(figures, key):
    return statistics.median(figure[key] for figure in figures)


def _time(seconds):
    return f"{seconds * 1e6:.2f} us" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def table(results):
    """Markdown: one row per job; times are per request."""
    lines = ["| job | byre | QEMU | ratio | QEMU at its best | ratio | raw file | ratio | cpu byre | cpu QEMU | ratio |",
             "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for name, found in results.items():
        ours, theirs, raw = (_median(found[key], "wall") for key in ("byre", "QEMU", "raw"))
        best = min((key for key in found if key.startswith("QEMU")), key=lambda key: _median(found[key], "wall"))
        fast = _median(found[best], "wall")
        flags = best.removeprefix("QEMU").strip() or "as it is"
        cpu, their_cpu = (_median(found[key], "cpu") for key in ("byre", "QEMU"))
        lines.append(f"| {name} | {_time(ours)} | {_time(theirs)} | {theirs / ours:.2f} | {_time(fast)} (`{flags}`) "
                     f"| {fast / ours:.2f} | {_time(raw)} | {raw / ours:.2f} | {_time(cpu)} | {_time(their_cpu)} "
                     f"| {their_cpu / cpu:.2f} |")
    return "\n".join(lines)
