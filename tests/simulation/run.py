#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the simulation over many seeds on all processors, and prints a summary.

scripts/simulate builds it and calls this. The last line is the one that tests/run.py counts.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BATCH = 20
# A seed takes a fraction of a second; one that takes this long hangs.
SECONDS_A_SEED = 120


class Sum:
    """Numbers and features of many runs, and the seeds that failed with their messages."""

    def __init__(self):
        self.counts = collections.Counter()
        self.features = collections.Counter()
        self.failures = []

    def add(self, output):
        for line in re.findall(r"^counts (.*)$", output, re.M):
            for name, value in re.findall(r"(\w+)=(\d+)", line):
                self.counts[name] += int(value)
        for name, value in re.findall(r"^feature (.*)=(\d+)$", output, re.M):
            self.features[name] += int(value)
        for match in re.finditer(r"^FAILED seed (\d+): (.*(?:\n .*)*)", output, re.M):
            self.failures.append((int(match.group(1)), match.group(2)))


def run_batch(program, first, count):
    """Seeds [first, first + count). One that ends the program fails, and the others continue."""
    total = Sum()
    end = first + count
    while first < end:
        command = [str(program), "--from", str(first), "--seeds", str(end - first)]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=SECONDS_A_SEED * (end - first), check=False)
            output, code = done.stdout.decode(errors="replace"), done.returncode
        except subprocess.TimeoutExpired as expired:
            output, code = (expired.stdout or b"").decode(errors="replace"), "a timeout"
        total.add(output)
        if re.search(r"^counts ", output, re.M):
            if code not in (0, 1):
                total.failures.append((first, f"the program ended with {code}\n{output[-3000:]}"))
            break
        seeds = re.findall(r"^seed (\d+), ", output, re.M)
        culprit = int(seeds[-1]) if seeds else first
        rest = output.rsplit(f"seed {culprit}, ", 1)[-1]
        total.failures.append((culprit, f"the program ended with {code}\n{rest[-3000:]}"))
        first = culprit + 1
    return total


def run_seeds(program, first, count, jobs, failures_max, report=None):
    """Runs all of them, `jobs` at a time; stops early after too many failures."""
    total = Sum()
    batches = [(at, min(BATCH, first + count - at)) for at in range(first, first + count, BATCH)]
    with concurrent.futures.ThreadPoolExecutor(max_workers=jobs) as pool:
        pending = [pool.submit(run_batch, program, *batch) for batch in batches]
        for done in concurrent.futures.as_completed(pending):
            if done.cancelled():
                continue
            part = done.result()
            total.counts += part.counts
            total.features += part.features
            total.failures += part.failures
            if report:
                report(total)
            if len(total.failures) >= failures_max:
                for waiting in pending:
                    waiting.cancel()
    return total


def show(total, seconds):
    counts = total.counts
    print(f"seeds {counts['seeds']}, crashes {counts['crashes']}, sessions {counts['sessions']}, "
          f"requests {counts['requests']}, of them failed {counts['errors']}, "
          f"requests to disks {counts['disk_requests']}")
    print(f"{seconds:.0f} s, {counts['crashes'] / max(seconds, 0.001):.0f} crashes a second")
    print("features, with how many seeds had them:")
    by_kind = sorted(total.features.items(),
                     key=lambda item: [int(part) if part.isdigit() else part
                                       for part in re.split(r"(\d+)", item[0])])
    for name, count in by_kind:
        print(f"  {name:36} {count}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with a trace of all that happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--preset", default="release", help="which build to run")
    parser.add_argument("--program", type=pathlib.Path, help="or which program")
    parser.add_argument("--crashes-min", type=int, default=0, help="fewer are a failure")
    parser.add_argument("--failures-max", type=int, default=10, help="stop after so many")
    arguments = parser.parse_args()
    program = arguments.program or ROOT / "build" / arguments.preset / "tests" / "simulation"
    if arguments.seed is not None:
        return subprocess.run([str(program), "--from", str(arguments.seed), "--trace"],
                              check=False).returncode
    begin = time.monotonic()
    total = run_seeds(program, arguments.first, arguments.seeds, arguments.jobs,
                      arguments.failures_max)
    show(total, time.monotonic() - begin)
    for seed, what in sorted(total.failures):
        print(f"FAIL seed {seed}: {what.splitlines()[0]}")
        for line in what.splitlines()[1:]:
            print(f"    {line}")
    crashes = total.counts["crashes"]
    if crashes < arguments.crashes_min:
        print(f"FAIL crashes: only {crashes} of {arguments.crashes_min}")
    failed = len(total.failures) + (crashes < arguments.crashes_min)
    passed = total.counts["seeds"] - len(total.failures)
    print(f"simulation: {max(passed, 0)} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
