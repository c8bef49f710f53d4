#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of byre, stage after stage, and counts them in the last line.

scripts/test calls it after scripts/setup. Each stage prints one line with its time; failures are printed in full,
skipped tests are listed at the end.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
LOGS = BUILD / "test-logs"
# Only tests that run several threads at once are worth their time under the thread sanitizer. unit_qcow2, which takes
# half of it, has few of them.
TSAN_PROGRAMS = ["unit_async", "unit_storage", "unit_open", "unit_jobs"]
# Long ones that run on one thread alone, on devices in memory.
TSAN_LEFT_OUT = ["*RepairPowerCut*", "*EachDamage*", "Resize.*", "WriteFaults.*", "Options/Create.*"]
# So many processes share the tests of a program that takes longer than all the others.
SHARDS = {"unit_qcow2": 6, "unit_storage": 2, "unit_jobs": 2}
# The cases of interop start some hundred thousand programs: one in so many is run each time.
INTEROP_EVERY = 8
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


class Tally:
    """The numbers of passed, failed and skipped tests, here and in total so far."""

    def __init__(self):
        self.passed = 0
        self.failures = []
        self.skips = []

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self):
        return f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped"


def run(command, log, env=None, timeout=None):
    """Runs a command with its output in a file of LOGS; returns (exit code, output)."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / log
    environment = {**os.environ, **SANITIZER_OPTIONS, **(env or {})}
    with open(path, "wb") as out:
        try:
            code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                                  env=environment, timeout=timeout, stdin=subprocess.DEVNULL,
                                  check=False).returncode
        except subprocess.TimeoutExpired:
            code = 124
            out.write(f"\nstopped after {timeout} s\n".encode())
    return code, path.read_text(errors="replace")


def show(title, text, lines=60):
    print(f"--- {title}")
    print("\n".join(text.rstrip().splitlines()[-lines:]))
    print("---", flush=True)


def build(preset, targets=()):
    """Configures and builds; returns a Tally with a failure if that did not work."""
    command = [str(ROOT / "scripts/build")]
    for target in targets:
        command += ["--target", target]
    code, output = run(command + [preset], f"build-{preset}.log")
    tally = Tally()
    if code != 0:
        show(f"build of preset {preset} failed", output)
        tally.failures.append(f"build of preset {preset}")
    return tally


def run_unit_program(preset, program, left_out, shard, shards):
    tally = Tally()
    name = f"{preset}-{program.name}" + (f"-{shard}" if shards > 1 else "")
    results = LOGS / f"{name}.json"
    results.unlink(missing_ok=True)
    code, output = run([str(program), f"--gtest_output=json:{results}", "--gtest_brief=1",
                        f"--gtest_filter=*-{':'.join(left_out)}"], f"{name}.log",
                       {"GTEST_TOTAL_SHARDS": str(shards), "GTEST_SHARD_INDEX": str(shard)}, timeout=900)
    where = f"{preset}/{program.name}"
    try:
        suites = json.loads(results.read_text())["testsuites"]
    except (OSError, ValueError):
        show(f"{where} ended with {code}", output)
        tally.failures.append(f"{where}: ended with {code} before it could report")
        return tally
    for suite in suites:
        for test in suite["testsuite"]:
            name = f"{where} {suite['name']}.{test['name']}"
            if test.get("failures"):
                tally.failures.append(name)
            elif test["status"] == "NOTRUN" or test["result"] == "SKIPPED":
                tally.skips.append(f"{name}: skipped by the test itself")
            else:
                tally.passed += 1
    if tally.failures or code != 0:
        show(f"{where} ended with {code}", output)
        if not tally.failures:
            tally.failures.append(f"{where}: every test passed, yet it ended with {code}")
    return tally


def unit_stage(preset, only=None, left_out=()):
    """Builds and runs the unit tests of one preset, all but those that match a pattern of `left_out`."""
    wanted = only or known_unit_programs()
    tally = build(preset, wanted)
    if tally.failures:
        return tally
    runs = [(BUILD / preset / "tests" / name, shard, SHARDS.get(name, 1))
            for name in sorted(wanted, key=lambda name: -SHARDS.get(name, 1)) for shard in range(SHARDS.get(name, 1))]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        for result in pool.map(lambda each: run_unit_program(preset, each[0], left_out, *each[1:]), runs):
            tally.add(result)
    if tally.passed == 0 and not tally.failures:
        tally.failures.append(f"unit tests of {preset}: none ran")
    return tally


def known_unit_programs():
    """unit_<folder> for each folder that CMakeLists.txt has in BYRE_UNIT_TESTS."""
    folders = re.search(r"set\(BYRE_UNIT_TESTS ([^)]+)\)", (ROOT / "CMakeLists.txt").read_text()).group(1).split()
    return ["unit_" + folder.replace("/", "_") for folder in folders]


def release_stage():
    tally = build("release")
    if not tally.failures:
        tally.add(unit_stage("release"))
    return tally


def gcc_stage():
    """Builds everything with GCC, and runs the unit tests and some cases of interop."""
    tally = build("gcc", ["byre"])
    if not tally.failures:
        tally.add(unit_stage("gcc"))
        tally.add(script_stage("interop", "tests/interop/run.py",
                               ["--subject", str(BUILD / "gcc/bin/byre"),
                                "--filter", "^(acknowledged|corpus|partial|zeroes)/"], log="interop-gcc.log"))
    return tally


def asan_stage():
    return unit_stage("asan")


def tsan_stage():
    return unit_stage("tsan", TSAN_PROGRAMS, TSAN_LEFT_OUT)


def tsan_all_stage():
    return unit_stage("tsan", [*TSAN_PROGRAMS, "unit_qcow2"], TSAN_LEFT_OUT)


def script_stage(name, script, arguments=(), log=None, timeout=1800):
    """Runs a test program that ends in '<name>: N passed, N failed, N skipped'."""
    tally = Tally()
    code, output = run([sys.executable, str(ROOT / script), *arguments], log or f"{name}.log",
                       timeout=timeout)
    last = re.search(rf"^{name}: (\d+) passed, (\d+) failed, (\d+) skipped$", output, re.M)
    if not last:
        show(f"{name} ended with {code}", output)
        tally.failures.append(f"{name}: ended with {code} before it could report")
        return tally
    tally.passed = int(last.group(1))
    tally.failures = [f"{name} {case}" for case in re.findall(r"^FAIL (.*)$", output, re.M)]
    tally.skips = [f"{name} {case}" for case in re.findall(r"^SKIP (.*)$", output, re.M)]
    told = (len(tally.failures), len(tally.skips))
    if told != (int(last.group(2)), int(last.group(3))) or (code != 0) != bool(tally.failures):
        tally.failures.append(f"{name}: its last line, its list and its exit code {code} disagree")
    if tally.failures:
        show(name, output, lines=400)
    return tally


def system_stage():
    return script_stage("system", "tests/system/run.py")


def interop_stage():
    return script_stage("interop", "tests/interop/run.py", ["--every", str(INTEROP_EVERY)])


def interop_all_stage():
    return script_stage("interop", "tests/interop/run.py", timeout=4 * 3600)


def simulation_stage():
    """2,000 crashes and more from fixed seeds, and some under the sanitizers."""
    tally = build("release", ["simulation"])
    tally.add(build("asan", ["simulation"]))
    if tally.failures:
        return tally
    code, output = run([sys.executable, str(ROOT / "tests/simulation/broken_rules.py"), "--list"],
                       "broken-rules.log")
    if code == 0:
        tally.passed += 1
    else:
        show("broken rules", output)
        tally.failures.append("simulation: a rule of the order on disk can no longer be broken")
    tally.add(script_stage("simulation", "tests/simulation/run.py",
                           ["--from", "1", "--seeds", "60", "--crashes-min", "2000"]))
    tally.add(script_stage("simulation", "tests/simulation/run.py",
                           ["--preset", "asan", "--from", "1000", "--seeds", "20"], log="simulation-asan.log"))
    return tally


def differential_stage():
    return script_stage("differential", "tests/differential/run.py", ["--runs", "100"])


def run_fuzz_target(target, runs):
    """Each seed once, as a test of its own, then a run of fixed length from a fixed seed."""
    tally = Tally()
    seeds = sorted((ROOT / "tests/fuzz/seeds" / target.name.removesuffix("_fuzz")).glob("*"))
    if not seeds:
        tally.failures.append(f"fuzz {target.name}: it has no seeds")
        return tally
    limits = ["-rss_limit_mb=2048", "-malloc_limit_mb=1024", "-timeout=60"]
    artifacts = LOGS / f"{target.name}-"
    code, _ = run([str(target), *limits, f"-artifact_prefix={artifacts}", *map(str, seeds)],
                  f"{target.name}-seeds.log", timeout=900)
    if code == 0:
        tally.passed += len(seeds)
    else:
        for seed in seeds:
            code, output = run([str(target), *limits, f"-artifact_prefix={artifacts}", str(seed)],
                               f"{target.name}-seed.log", timeout=120)
            if code == 0:
                tally.passed += 1
            else:
                show(f"{target.name} {seed.name}", output)
                tally.failures.append(f"fuzz {target.name} seed {seed.name}")
    corpus = LOGS / f"{target.name}.corpus"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    code, output = run([str(target), *limits, f"-runs={runs}", "-seed=1", "-max_len=65536",
                        f"-artifact_prefix={artifacts}", str(corpus), str(seeds[0].parent)],
                       f"{target.name}-run.log", timeout=900)
    shutil.rmtree(corpus, ignore_errors=True)
    if code == 0:
        tally.passed += 1
    else:
        show(f"{target.name}, {runs} runs", output)
        tally.failures.append(f"fuzz {target.name}, {runs} runs")
    return tally


def fuzz_stage(runs=20000):
    """The preset asan has the fuzz targets too, so that one build serves both."""
    names = sorted(path.stem for path in (ROOT / "tests/fuzz").glob("*_fuzz.cc"))
    if not names:
        tally = Tally()
        tally.failures.append("fuzz: no targets in tests/fuzz")
        return tally
    tally = build("asan", names)
    if tally.failures:
        return tally
    targets = [BUILD / "asan" / "fuzz" / name for name in names]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        # A run of this one covers the whole life of an image.
        counts = {"read_write_check_fuzz": runs // 10, "repair_fuzz": runs // 10, "change_fuzz": runs // 4}
        for result in pool.map(lambda target: run_fuzz_target(target, counts.get(target.name, runs)), targets):
            tally.add(result)
    return tally


STAGES = {
    "release": ("build, unit tests", release_stage),
    "system": ("the rules of the repository, the README's examples", system_stage),
    "interop": (f"byre compared with QEMU, one case in {INTEROP_EVERY}", interop_stage),
    "simulation": ("crashes of simulated disks", simulation_stage),
    "differential": ("random requests through byre io and qemu-io", differential_stage),
    "asan": ("build, unit tests with address and undefined-behaviour sanitizers", asan_stage),
    "fuzz": ("build, every seed, and a short run of each target", fuzz_stage),
    "tsan": ("build, unit tests that run threads, with the thread sanitizer", tsan_stage),
    "interop-all": ("by hand: every case of interop", interop_all_stage),
    "tsan-all": ("by hand: the same as tsan, and the unit tests of qcow2", tsan_all_stage),
    "gcc": ("by hand: build with GCC, all unit tests, some cases of interop", gcc_stage),
}
BY_HAND = {"interop-all", "tsan-all", "gcc"}


def main():
    listing = "\n".join(f"  {name:12} {what}" for name, (what, _) in STAGES.items())
    parser = argparse.ArgumentParser(prog="scripts/test", description="Runs byre's tests.",
                                     epilog="stages:\n" + listing,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="*", help="the stages to run; without any, all but those by hand")
    names = parser.parse_args().stage or [name for name in STAGES if name not in BY_HAND]
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        parser.error(f"no such stage: {', '.join(unknown)}")
    total = Tally()
    started = time.monotonic()
    for name in names:
        what, stage = STAGES[name]
        begin = time.monotonic()
        tally = stage()
        total.add(tally)
        print(f"{name:12} {time.monotonic() - begin:7.1f} s   {tally}   ({what})", flush=True)
    for skip in total.skips:
        print(f"SKIPPED: {skip}")
    for failure in total.failures:
        print(f"FAILED: {failure}")
    print(f"all stages took {time.monotonic() - started:.0f} s; logs are in build/test-logs")
    print(total)
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
