#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares byre with QEMU on a 4 GiB ext4 file system of real files; scripts/bench calls it.

Both run alternately, round after round, on the same files, which are in the page cache. QEMU runs with its default
flags and with each of the flag sets that are considered its best; the best of those by median wall time is shown.
Beside both there is a reference: a minimal static program that reads the same data (reference.cc), or `cp`. Prints
Markdown tables of medians and ratios (QEMU's figure / byre's: above 1, byre is better) and writes all figures to
build/bench/results.json. --scale shows instead how time and memory grow with the size of a disk, and --before
compares with an earlier byre.
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
import measured
import page_cache
import scale
import versions
from inputs import Inputs
from jobs import JOBS
from real_disk import MIB

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build/bench"


def build_tool(name, *flags):
    """A small program of this directory, built if necessary."""
    program = FOLDER / name
    source = ROOT / f"bench/{name}.cc"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = next(filter(shutil.which, ("clang++-19", "g++", "c++")), None)
        subprocess.run([compiler, "-std=c++20", "-O2", *flags, source, "-o", program], check=True)
    return program


def make_runner():
    return measured.Runner(build_tool("measured_run"), FOLDER)


class Bench:
    def __init__(self, byre):
        self.byre = byre
        self.inputs = Inputs(FOLDER)
        self.runner = make_runner()
        self.reference = build_tool("reference", "-static")
        for program in (self.byre, self.reference, shutil.which("qemu-img")):
            page_cache.read_afresh(program, self.reference)
        self.out = FOLDER / "out.image"

    def fill_in(self, template):
        """The command line, and the inputs that it names."""
        names = re.findall(r"\{(\w+)\}", " ".join(template))
        places = {"out": self.out, "base": self.inputs.base, "reference": self.reference}
        used = {name: self.inputs[name] for name in names if name not in places}
        return [argument.format(**places, **used) for argument in template], list(used.values())

    def measure(self, program, arguments, times, prepare=()):
        """Its figures, and the size of what it wrote."""
        # Before sync, which would write it out for seconds, while the host of a virtual machine takes back idle memory.
        self.out.unlink(missing_ok=True)
        for command in prepare:
            subprocess.run(self.fill_in(command)[0], check=True)
        os.sync()
        run = self.runner.run([program, *arguments], times)
        size = self.out.stat().st_blocks * 512 if self.out.exists() else None
        return {"wall": run.wall, "cpu": run.cpu, "peak": run.peak, "size": size}

    def verify(self, name):
        """Checks that the output is what it should be; not measured."""
        if name.startswith("convert"):
            subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", self.inputs["raw"], self.out], check=True)
        if name.startswith(("amend", "resize", "snapshot")):
            subprocess.run(["qemu-img", "check", "-q", self.out], check=True)
        if name.startswith("commit"):
            (overlay,) = {source for command in JOBS[name].prepare for source in self.fill_in(command)[1]}
            subprocess.run(["qemu-img", "compare", "-q", overlay, self.inputs.base], check=True)
            subprocess.run(["qemu-img", "check", "-q", self.inputs.base], check=True)
        if name.startswith("rebase"):
            subprocess.run(["qemu-img", "compare", "-q", self.inputs["gibibyte"], self.out], check=True)
            subprocess.run(["qemu-img", "check", "-q", self.out], check=True)
        if name.startswith("convert") and " to raw" not in name and " from " not in name:
            subprocess.run(["qemu-img", "check", "-q", self.out], check=True)

    def run(self, name, rounds):
        """{"byre": [figures], "byre <flags>": ..., "QEMU": ..., "QEMU <flags>": ..., "reference": ...}."""
        job = JOBS[name]
        arguments, inputs = self.fill_in(job.arguments)
        for command in job.prepare:
            inputs += self.fill_in(command)[1]
        variants = {}
        for who, program, sets in (("byre", self.byre, job.levels), ("QEMU", "qemu-img", job.best)):
            for flags in [[], *sets]:
                variants[" ".join([who, *flags])] = (program, [arguments[0], *flags, *arguments[1:]])
        if job.theirs:
            command, _ = self.fill_in(job.theirs)
            variants["QEMU"] = (command[0], command[1:])
        if job.reference:
            command, more = self.fill_in(job.reference)
            variants["reference"] = (command[0], command[1:])
            inputs += more
        for path in set(inputs):
            page_cache.read_afresh(path, self.reference)
        found = {variant: [] for variant in variants}
        for number in range(rounds):
            for variant, (program, command) in access.in_turn(variants, number):
                for _ in range(1 + job.warm_up):
                    figures = self.measure(program, command, job.times, job.prepare)
                found[variant].append(figures)
                if number == 0 and variant != "reference":
                    self.verify(name)
            print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr)
        for path in (self.out, self.inputs.base):
            path.unlink(missing_ok=True)
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
    """Markdown: one row per job, or per level of byre's."""
    lines = ["| job | byre | QEMU | ratio | QEMU at its best | ratio | reference | ratio | cpu byre | cpu QEMU "
             "| ratio | peak byre | peak QEMU | ratio |",
             "| --- |" + " ---: |" * 3 + " --- |" + " ---: |" * 9]
    sizes = ["| job | size byre | size QEMU | ratio |", "| --- | ---: | ---: | ---: |"]
    for job, found in results.items():
        theirs = found["QEMU"]
        best = min((variant for variant in found if variant.startswith("QEMU")),
                   key=lambda variant: median(found[variant], "wall"))
        flags = best.removeprefix("QEMU").strip() or "as it is"
        fast = median(found[best], "wall")
        for variant in (variant for variant in found if variant.startswith("byre")):
            name, ours = job + variant.removeprefix("byre"), found[variant]
            wall = median(ours, "wall")
            row = [name]
            for key, show in (("wall", seconds), ("cpu", seconds), ("peak", size)):
                mine, other = median(ours, key), median(theirs, key)
                row += [show(mine), show(other), ratio(other, mine)]
                if key == "wall":
                    least = median(found["reference"], "wall") if "reference" in found else None
                    row += [f"{seconds(fast)} (`{flags}`)", ratio(fast, wall),
                            seconds(least) if least else "", ratio(least, wall) if least else ""]
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
    bench = Bench(arguments.byre.absolute())
    return {name: bench.run(name, arguments.rounds) for name in names}


def run_access(arguments, jobs):
    FOLDER.mkdir(parents=True, exist_ok=True)
    bench = access.AccessBench(FOLDER, arguments.device_bench.absolute(), make_runner())
    results = {}
    for name, job in jobs.items():
        results[name] = bench.run(job, arguments.rounds)
        print(name, file=sys.stderr)
    return results


def compare_versions(arguments, jobs, access_jobs):
    FOLDER.mkdir(parents=True, exist_ok=True)
    byre, device_bench = versions.programs_of(arguments.before.absolute())
    results = {}
    if jobs:
        results |= versions.run_commands(Bench(arguments.byre.absolute()), jobs, byre, arguments.rounds)
    if access_jobs:
        bench = access.AccessBench(FOLDER, arguments.device_bench.absolute(), make_runner())
        results |= versions.run_access(bench, access_jobs, device_bench, arguments.rounds)
    arguments.json.write_text(json.dumps({"machine": machine(), "rounds": arguments.rounds, "results": results}, indent=1)
                              + "\n")
    print(f"{machine()}; medians of {arguments.rounds} rounds, input in the page cache; "
          "ratio: before / now, above 1 it is better now\n")
    print(versions.table(results))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", default="", help="only jobs whose name matches this expression")
    parser.add_argument("--byre", type=pathlib.Path, default=FOLDER / "installed/bin/byre")
    parser.add_argument("--device-bench", type=pathlib.Path, default=ROOT / "build/release/bin/device_bench")
    parser.add_argument("--json", type=pathlib.Path, default=FOLDER / "results.json")
    parser.add_argument("--scale", action="store_true", help="cost curves from 1 GiB to 4 TiB of mapped data")
    parser.add_argument("--before", type=pathlib.Path, metavar="FOLDER",
                        help="compare with the byre and device_bench of an earlier build there, instead of QEMU")
    arguments = parser.parse_args()
    if arguments.scale:
        jobs = [name for name in scale.all_jobs() if re.search(arguments.jobs, name)]
        if not jobs:
            sys.exit(f"no such job; there are: {', '.join(scale.all_jobs())}")
        scale.run(FOLDER, arguments.byre.absolute(), arguments.device_bench.absolute(),
                  make_runner(), arguments.rounds, jobs, arguments.json, machine())
        return 0
    access_jobs = access.jobs()
    chosen = [name for name in JOBS if re.search(arguments.jobs, name)]
    chosen_access = [name for name in access_jobs if re.search(arguments.jobs, name)]
    if not chosen and not chosen_access:
        sys.exit(f"no such job; there are: {', '.join([*JOBS, *access_jobs])}")
    if arguments.before:
        compare_versions(arguments, {name: JOBS[name] for name in chosen}, {name: access_jobs[name] for name in chosen_access})
        return 0
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
