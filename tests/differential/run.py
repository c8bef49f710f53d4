#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same random requests through byre io and qemu-io, seed after seed; scripts/differential calls it.

Ends with 'differential: N passed, N failed, N skipped'. README.md describes what is compared.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import shutil
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/interop"))

import devices  # noqa: E402  (in the directory of the interop tests, like the next one)
from programs import Program, TookTooLong  # noqa: E402
from session import Difference, Session  # noqa: E402


@dataclasses.dataclass
class Tools:
    subject: Program     # as qemu-img
    subject_io: Program  # as qemu-io
    qemu: Program
    qemu_io: Program


def find_tools(subject):
    search = os.environ.get("BYRE_QEMU_PATH") or None
    paths = {name: shutil.which(name, path=search) for name in ("qemu-img", "qemu-io")}
    for name, path in paths.items():
        if path is None:
            sys.exit(f"{name} is not installed; scripts/setup installs it")
    qemu, qemu_io = (Program(pathlib.Path(paths[name]), name) for name in ("qemu-img", "qemu-io"))
    if subject == "qemu":
        return Tools(qemu, qemu_io, qemu, qemu_io)
    path = pathlib.Path(subject).absolute()
    if not path.exists():
        sys.exit(f"{path} is not there; scripts/build builds it")
    return Tools(Program(path, "qemu-img"), Program(path, "qemu-io"), qemu, qemu_io)


def run_seed(seed, tools, base, keep, trace, left_out):
    """The report of the differences, or None."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{seed}.", dir=base))
    session = None
    problem = None
    try:
        session = Session(seed, folder, tools, left_out)
        session.run()
    except (Difference, TookTooLong) as reason:
        problem = str(reason)
    except Exception:  # any exception of a run is that run's failure
        problem = traceback.format_exc()
    log = "\n".join(session.log) if session else ""
    if trace:
        print(log)
    if problem is None or not keep:
        shutil.rmtree(folder, ignore_errors=True)
    if problem is None:
        return None
    kept = f"kept in {folder}\n" if keep else ""
    without = "".join(f" --without {name}" for name in sorted(left_out))
    return f"{kept}repeat it with: scripts/differential --seed {seed}{without}\n{log}\n{problem}"


def main():
    parser = argparse.ArgumentParser(prog="scripts/differential", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="how many seeds (default: 100)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed (default: 1)")
    parser.add_argument("--seed", type=int, help="this seed alone, with its requests")
    parser.add_argument("--subject", default=str(ROOT / "build/release/bin/byre"),
                        help="the program to compare with QEMU, or 'qemu': QEMU with itself")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--without", action="append", default=[], choices=("devices", "ignored-discards", "image-options", "shrinking"),
                        help="leave that out, to see what else differs; seeds mean other runs then")
    parser.add_argument("--keep", action="store_true", help="keep the folders of runs that fail")
    parser.add_argument("--failures-max", type=int, default=20, help="stop after so many (default: 20)")
    arguments = parser.parse_args()

    tools = find_tools(arguments.subject)
    skipped = 0
    no_devices = devices.refusal()
    if no_devices and "devices" not in arguments.without:
        print(f"SKIP images on devices: {no_devices}")
        arguments.without.append("devices")
        skipped = 1
    seeds = [arguments.seed] if arguments.seed is not None else \
        range(arguments.first, arguments.first + arguments.runs)
    base = ROOT / "build/differential"
    base.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
        running = {}
        waiting = iter(seeds)
        while True:
            for seed in waiting if len(running) < 2 * arguments.jobs else ():
                running[pool.submit(run_seed, seed, tools, base, arguments.keep,
                                    arguments.seed is not None, frozenset(arguments.without))] = seed
                if len(running) == 2 * arguments.jobs:
                    break
            if not running:
                break
            done, _ = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
            for future in done:
                seed = running.pop(future)
                problem = future.result()
                if problem is None:
                    passed += 1
                    continue
                failed += 1
                print(f"FAIL {seed}\n" + "\n".join("     " + line for line in problem.splitlines()),
                      flush=True)
            if failed >= arguments.failures_max:
                waiting = iter(())
    print(f"{passed + failed} runs took {time.monotonic() - began:.0f} s")
    for backing in base.glob("byre-interop-device.*"):
        backing.unlink()
    print(f"differential: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
