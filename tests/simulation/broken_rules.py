#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the simulation finds broken rules: breaks each rule on purpose, one at a time, in a
copy of the sources, and counts the crashes until a history fails.

The rules are those of docs/decisions/0010-order-on-disk.md and others that keep data safe. Each is
broken by exact replacements (order_rules.py), so that a rule whose code has changed is noticed.
"""
import argparse
import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from order_rules import CRASHES_MAX, RULES

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS_MAX = 600


def copy_sources(folder):
    """Copies what git would commit, changes included."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode()
    for name in listed.split("\0"):
        if not name or not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Only what differs, so that a kept folder is not rebuilt completely.
        if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
            shutil.copyfile(ROOT / name, target)


def broken_texts(folder, one):
    """{path: text with the rule broken}; None if the rule's code has changed."""
    texts = {}
    for edit in one.edits:
        path = folder / edit.file
        text = texts.get(path) or path.read_text()
        if text.count(edit.old) != 1:
            print(f"{edit.file} has this {text.count(edit.old)} times instead of once:\n{edit.old}")
            return None
        texts[path] = text.replace(edit.old, edit.new)
    return texts


def build(folder, jobs):
    log = folder / "build.log"
    with open(log, "wb") as out:
        for command in (["cmake", "--preset", "release"],
                        ["cmake", "--build", "--preset", "release", "--target", "simulation",
                         "-j", str(jobs)]):
            done = subprocess.run(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT,
                                  check=False)
            if done.returncode != 0:
                return log.read_text()[-3000:]
    return None


Outcome = collections.namedtuple("Outcome", "found seeds crashes how")


def simulate(folder, first, crashes_max):
    """Runs seeds from `first` on, until one fails or ends the program."""
    command = [str(folder / "build/release/tests/simulation"), "--from", str(first), "--seeds",
               str(crashes_max), "--crashes", str(crashes_max), "--failures", "1"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=SECONDS_MAX, check=False)
        output, code = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as expired:
        output, code = (expired.stdout or b"").decode(errors="replace"), "a timeout"
    begun = re.findall(r"^seed (\d+), (\d+) crashes so far$", output, re.M)
    counts = re.search(r"^counts .*crashes=(\d+)", output, re.M)
    crashes = int(counts.group(1)) if counts else int(begun[-1][1])
    failed = re.search(r"^FAILED seed \d+: (.*)$", output, re.M)
    if failed:
        return Outcome(True, len(begun), crashes, failed.group(1))
    if code == 0:
        return Outcome(False, len(begun), crashes, "")
    last = output.rstrip().splitlines()[-1][:120]
    return Outcome(True, len(begun), crashes, f"the program ended with {code}: {last}")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only rules whose names match")
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--folder", type=pathlib.Path, help="where to build; kept, for the next run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true", help="only check that all can be applied")
    arguments = parser.parse_args()
    rules = [one for one in RULES if re.search(arguments.filter, one.name)]
    missed = []
    if arguments.list:
        missed = [one.name for one in rules if broken_texts(ROOT, one) is None]
        print(f"{len(rules) - len(missed)} of {len(rules)} rules can be broken")
        return 1 if missed else 0
    folder = arguments.folder or pathlib.Path(tempfile.mkdtemp(prefix="byre-broken-rules-"))
    try:
        missed = run_rules(folder, rules, arguments)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"broken rules: {len(rules) - len(missed)} found, {len(missed)} missed")
    return 1 if missed else 0


def is_whole_without_changes(folder, arguments):
    """Whether no history fails without a broken rule: otherwise failures with one prove nothing."""
    copy_sources(folder)
    failure = build(folder, arguments.jobs)
    if failure:
        print(f"the sources do not build\n{failure}")
        return False
    outcome = simulate(folder, arguments.first, CRASHES_MAX // 4)
    if outcome.found:
        print(f"a history fails even without a broken rule: {outcome.how}")
    return not outcome.found


def run_rules(folder, rules, arguments):
    if not is_whole_without_changes(folder, arguments):
        return [one.name for one in rules]
    missed = []
    print("| rule broken | seeds | crashes | found as |\n| --- | --- | --- | --- |", flush=True)
    for one in rules:
        copy_sources(folder)
        texts = broken_texts(folder, one)
        if texts is None:
            missed.append(one.name)
            continue
        for path, text in texts.items():
            path.write_text(text)
        failure = build(folder, arguments.jobs)
        if failure:
            print(f"{one.name}: does not build\n{failure}")
            missed.append(one.name)
            continue
        outcome = simulate(folder, arguments.first, one.crashes_max)
        if not outcome.found:
            missed.append(one.name)
        how = outcome.how if outcome.found else "**not found**"
        print(f"| {one.name} | {outcome.seeds} | {outcome.crashes} | {how} |", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
