#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""byre beside QEMU on a 4 GiB ext4 file system of real files; scripts/bench calls it.

Both run in turn, round after round, on the same files, which lie in the page cache. QEMU runs with its
default flags and with each of the flag sets that are said to be its best; the best of those by median
wall time is shown. Prints Markdown tables of medians and ratios (QEMU's figure / byre's: above 1, byre is better)
and writes every single figure to build/bench/results.json.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

import access
import real_disk
from real_disk import MIB

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"
DISK_SIZE = 4096 * MIB
CONTENT = 3300 * MIB
COMPRESS_ZSTD = ["-c", "-o", "compression_type=zstd"]

# name -> (arguments, flag sets for QEMU's best). {raw}, {qcow2}, {copy}: inputs; {out}: a new file.
JOBS = {
    "info": (["info", "{qcow2}"], []),
    "create": (["create", "-q", "-f", "qcow2", "{out}", "4G"], []),
    "create with metadata": (["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "{out}", "64G"], []),
    "map": (["map", "--output=json", "{qcow2}"], []),
    "check": (["check", "{qcow2}"], [["-T", "none"]]),
    "compare": (["compare", "{raw}", "{qcow2}"], [["-T", "none"]]),
    "convert raw to qcow2": (["convert", "-f", "raw", "-O", "qcow2", "{raw}", "{out}"], "copy"),
    "convert qcow2 to raw": (["convert", "-O", "raw", "{qcow2}", "{out}"], "copy"),
    "convert qcow2 to qcow2": (["convert", "-O", "qcow2", "{qcow2}", "{out}"], "copy"),
    "convert to deflate": (["convert", "-f", "raw", "-O", "qcow2", "-c", "{raw}", "{out}"], [["-m", "16"]]),
    "convert to zstd": (["convert", "-f", "raw", "-O", "qcow2", *COMPRESS_ZSTD, "{raw}", "{out}"], [["-m", "16"]]),
    "convert from deflate": (["convert", "-O", "raw", "{deflate}", "{out}"], "copy"),
    "convert from zstd": (["convert", "-O", "raw", "{zstd}", "{out}"], "copy"),
}
BEST_COPY = [["-m", "16", "-W"], ["-m", "16", "-W", "-T", "none", "-t", "none"], ["-W", "-T", "none"]]


def prepare():
    """The inputs, made once and kept."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    raw = FOLDER / "disk.raw"
    if not raw.exists():
        if shutil.disk_usage(FOLDER).free < 24 << 30:
            sys.exit(f"scripts/bench needs 24 GiB in {FOLDER}")
        print("making a file system of 4 GiB; it is kept in build/bench", file=sys.stderr)
        stage = FOLDER / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        files = real_disk.spread(real_disk.machine_files(), 10000, 1100 * MIB)
        taken, number = 0, 0
        while taken < CONTENT:
            part = files if taken + 1100 * MIB <= CONTENT else \
                real_disk.spread(files, len(files), CONTENT - taken)
            copied = real_disk.copy_into(stage, part, number)
            if copied < MIB:
                break
            taken, number = taken + copied, number + 1
        partial = FOLDER / "disk.new"
        with open(partial, "wb") as file:
            file.truncate(DISK_SIZE)
        real_disk.make_file_system(partial, stage, DISK_SIZE)
        shutil.rmtree(stage)
        partial.rename(raw)
    inputs = {"raw": raw, "qcow2": FOLDER / "disk.qcow2", "deflate": FOLDER / "deflate.qcow2",
              "zstd": FOLDER / "zstd.qcow2"}
    for name, options in (("qcow2", []), ("deflate", ["-c"]), ("zstd", COMPRESS_ZSTD)):
        if not inputs[name].exists():
            partial = FOLDER / "input.new"
            subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, raw, partial], check=True)
            partial.rename(inputs[name])
    return inputs


def build_runner():
    runner = FOLDER / "measured_run"
    source = ROOT / "bench/measured_run.cc"
    if not runner.exists() or runner.stat().st_mtime < source.stat().st_mtime:
        compiler = next(filter(shutil.which, ("clang++-19", "g++", "c++")), None)
        subprocess.run([compiler, "-std=c++20", "-O2", source, "-o", runner], check=True)
    return runner


def warm(path):
    """Puts a file into the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(4 * MIB):
            pass


class Bench:
    def __init__(self, byre, inputs):
        self.byre = byre
        self.inputs = inputs
        self.runner = build_runner()
        self.out = FOLDER / "out.image"

    def measure(self, program, arguments):
        """One run: its figures, and the size of what it wrote."""
        self.out.unlink(missing_ok=True)
        os.sync()
        report = FOLDER / "report"
        report.unlink(missing_ok=True)
        subprocess.run([self.runner, report, program, *arguments], check=True)
        code, wall, user, system, peak = map(int, report.read_text().split())
        if code != 0:
            sys.exit(f"{program} {' '.join(map(str, arguments))} ended with {code}")
        size = self.out.stat().st_blocks * 512 if self.out.exists() else None
        return {"wall": wall / 1e9, "cpu": (user + system) / 1e6, "peak": peak * 1024, "size": size}

    def verify(self, name):
        """What a conversion wrote is the disk; not measured."""
        if name.startswith("convert"):
            subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", self.inputs["raw"], self.out], check=True)
        if name.startswith("convert") and " to raw" not in name and " from " not in name:
            subprocess.run(["qemu-img", "check", "-q", self.out], check=True)

    def run(self, name, rounds):
        """{"byre": [figures], "QEMU": [...], "QEMU <flags>": [...]}."""
        template, best = JOBS[name]
        places = {**self.inputs, "out": self.out}
        arguments = [argument.format(**places) for argument in template]
        variants = {"byre": (self.byre, arguments), "QEMU": ("qemu-img", arguments)}
        for flags in BEST_COPY if best == "copy" else best:
            variants["QEMU " + " ".join(flags)] = ("qemu-img", [arguments[0], *flags, *arguments[1:]])
        for path in self.inputs.values():
            if str(path) in arguments:
                warm(path)
        found = {variant: [] for variant in variants}
        for number in range(rounds):
            for variant, (program, command) in variants.items():
                found[variant].append(self.measure(program, command))
                if number == 0:
                    self.verify(name)
            print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr)
        self.out.unlink(missing_ok=True)
        return found


def median(figures, key):
    return statistics.median(figure[key] for figure in figures)


def seconds(value):
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def size(value):
    return f"{value / MIB:.1f} MiB"


def ratio(theirs, ours):
    return f"{theirs / ours:.2f}" if ours > 0 else "-"


def tables(results):
    """Markdown: one row a job."""
    lines = ["| job | byre | QEMU | ratio | QEMU at its best | ratio | cpu byre | cpu QEMU | ratio "
             "| peak byre | peak QEMU | ratio |",
             "| --- |" + " ---: |" * 3 + " --- |" + " ---: |" * 7]
    sizes = ["| job | size byre | size QEMU | ratio |", "| --- | ---: | ---: | ---: |"]
    for name, found in results.items():
        ours, theirs = found["byre"], found["QEMU"]
        best = min((variant for variant in found if variant != "byre"),
                   key=lambda variant: median(found[variant], "wall"))
        flags = best.removeprefix("QEMU").strip() or "as it is"
        row = [name]
        for key, show in (("wall", seconds), ("cpu", seconds), ("peak", size)):
            mine, other = median(ours, key), median(theirs, key)
            row += [show(mine), show(other), ratio(other, mine)]
            if key == "wall":
                fast = median(found[best], key)
                row += [f"{show(fast)} (`{flags}`)", ratio(fast, mine)]
        lines.append("| " + " | ".join(row) + " |")
        if ours[0]["size"] is not None and name.startswith("convert to"):
            mine, other = median(ours, "size"), median(theirs, "size")
            sizes.append(f"| {name} | {size(mine)} | {size(other)} | {ratio(other, mine)} |")
    return "\n".join(lines), "\n".join(sizes) if len(sizes) > 2 else ""


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True).stdout
    return (f"{os.cpu_count()} x {model.group(1) if model else platform.machine()}, Linux {platform.release()}, "
            f"{version.splitlines()[0]}")


def run_commands(arguments, names):
    if not names:
        return {}
    bench = Bench(arguments.byre.absolute(), prepare())
    return {name: bench.run(name, arguments.rounds) for name in names}


def run_access(arguments, jobs):
    FOLDER.mkdir(parents=True, exist_ok=True)
    bench = access.AccessBench(FOLDER, arguments.device_bench.absolute())
    results = {}
    for name, job in jobs.items():
        results[name] = bench.run(job, arguments.rounds)
        print(name, file=sys.stderr)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", default="", help="only jobs whose name matches this expression")
    parser.add_argument("--byre", type=pathlib.Path, default=ROOT / "build/release/bin/byre")
    parser.add_argument("--device-bench", type=pathlib.Path, default=ROOT / "build/release/bin/device_bench")
    parser.add_argument("--json", type=pathlib.Path, default=FOLDER / "results.json")
    arguments = parser.parse_args()
    access_jobs = access.jobs()
    chosen = [name for name in JOBS if re.search(arguments.jobs, name)]
    chosen_access = [name for name in access_jobs if re.search(arguments.jobs, name)]
    if not chosen and not chosen_access:
        sys.exit(f"no such job; there are: {', '.join([*JOBS, *access_jobs])}")
    results = run_commands(arguments, chosen)
    results_access = run_access(arguments, {name: access_jobs[name] for name in chosen_access})
    arguments.json.write_text(json.dumps({"machine": machine(), "rounds": arguments.rounds,
                                          "results": {**results, **results_access}}, indent=1) + "\n")
    print(f"{machine()}; medians of {arguments.rounds} rounds, input in the page cache; "
          "ratio: QEMU / byre or raw / byre, above 1 byre is better\n")
    figures, sizes = tables(results)
    print("\n\n".join(part for part in (figures if results else "", sizes,
                                        access.table(results_access) if results_access else "") if part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
