#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares byre with QEMU on the same tasks. Ends with 'interop: N passed, N failed, N skipped'.

Cases are rows of tables in cases_*.py. The subject is called under the name qemu-img, as a drop-in would be. With
--subject $(command -v qemu-img), QEMU is compared with itself, which tests the tests.
"""
import argparse
import concurrent.futures
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import case as cases
import cases_corpus
import differences
from programs import Program, TookTooLong

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent


def load():
    """All cases of all cases_*.py, by module."""
    found = []
    for path in sorted(HERE.glob("cases_*.py")):
        module = importlib.import_module(path.stem)
        group = path.stem.removeprefix("cases_")
        for entry in module.cases():
            entry.name = f"{group}/{entry.name}"
            found.append(entry)
    names = [entry.name for entry in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        sys.exit(f"names of cases that are there twice: {sorted(twice)}")
    return found


def find_tools(subject):
    programs = {}
    for name in ("qemu-img", "qemu-io"):
        path = shutil.which(name, path=os.environ.get("BYRE_QEMU_PATH") or None)
        if path is None:
            sys.exit(f"{name} is not installed; scripts/setup installs it")
        programs[name] = Program(pathlib.Path(path), name)
    if not subject.exists():
        sys.exit(f"{subject} is not there; scripts/build builds it")
    version = subprocess.run([subject, "--version"], stdout=subprocess.PIPE, text=True, check=False)
    return cases.Tools(subject=Program(subject.absolute(), "qemu-img"), qemu=programs["qemu-img"],
                       qemu_io=programs["qemu-io"], corpus=cases_corpus.find(),
                       subject_is_byre="byre" in version.stdout)


def remove(folder):
    try:
        shutil.rmtree(folder)
    except PermissionError:
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


class Runner:
    def __init__(self, tools, base, keep):
        self.tools = tools
        self.base = base
        self.keep = keep
        self.lock = threading.Lock()
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.times = []

    def run(self, entry):
        begin = time.monotonic()
        short = re.sub(r"[^A-Za-z0-9.=]+", "_", entry.name)[:80]
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{short}.", dir=self.base))
        folder.chmod(0o755)
        problem = skip = None
        try:
            if entry.byre_only and not self.tools.subject_is_byre:
                raise cases.Skip("only byre has it")
            entry.run(cases.World(folder, self.tools))
        except cases.Skip as reason:
            skip = str(reason)
        except (cases.Failure, TookTooLong) as reason:
            problem = str(reason)
        except Exception:  # any exception of a case is that case's failure, not the end of the run
            problem = traceback.format_exc()
        if not (self.keep and problem):
            remove(folder)
        with self.lock:
            self.times.append((time.monotonic() - begin, entry.name))
            if skip is not None:
                self.skipped += 1
                print(f"SKIP {entry.name}: {skip}")
            elif problem is not None:
                self.failed += 1
                kept = f"     kept in {folder}\n" if self.keep else ""
                body = "\n".join("     " + line for line in problem.splitlines())
                print(f"FAIL {entry.name}\n{kept}{body}")
            else:
                self.passed += 1
            sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", type=pathlib.Path, default=ROOT / "build/release/bin/byre",
                        help="the program to compare with QEMU (default: build/release/bin/byre)")
    parser.add_argument("--filter", default="", help="only cases whose name matches this expression")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only the first of each N of these cases")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 2),
                        help="cases at a time (default: two a processor, since they wait for disks)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of cases that fail")
    parser.add_argument("--slowest", type=int, default=0, help="print that many of the slowest cases")
    arguments = parser.parse_args()

    chosen = [entry for entry in load() if re.search(arguments.filter, entry.name)][::arguments.every]
    if arguments.list:
        print("\n".join(entry.name for entry in chosen))
        return 0
    if not chosen:
        sys.exit("no case has such a name")
    tools = find_tools(arguments.subject)
    (ROOT / "build").mkdir(exist_ok=True)
    base = pathlib.Path(tempfile.mkdtemp(prefix="interop-", dir=ROOT / "build"))
    runner = Runner(tools, base, arguments.keep)
    try:
        with concurrent.futures.ThreadPoolExecutor(max_workers=arguments.jobs) as pool:
            list(pool.map(runner.run, chosen))
    finally:
        if not (arguments.keep and runner.failed):
            shutil.rmtree(base, ignore_errors=True)
    for seconds, name in sorted(runner.times, reverse=True)[:arguments.slowest]:
        print(f"{seconds:7.2f} s  {name}")
    for name in differences.used():
        print(f"deliberate difference met: {name}")
    if not arguments.filter and arguments.every == 1 and tools.subject_is_byre:
        for name in differences.unused():
            runner.failed += 1
            print(f"FAIL differences.py: no case meets '{name}'")
    print(f"interop: {runner.passed} passed, {runner.failed} failed, {runner.skipped} skipped")
    return 1 if runner.failed else 0


if __name__ == "__main__":
    sys.exit(main())
