#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tools that call qemu-img, once with QEMU's and once with byre's first in PATH, and compares; scripts/try-tools calls it.

After each step the exit codes, what was printed, the calls of qemu-img with their results, and the images are compared:
their properties, their contents as both programs read them, and both checks. Exits with 1 if anything differs that
differences.py does not list.
"""
import argparse
import collections
import difflib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import callers
import differences
import diskimage
import guestfs
import libvirt
import packages
import packer
from images import Looker
from sides import Side, copy_programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = {tool.name: tool for tool in [libvirt.TOOL, *guestfs.TOOLS, packer.TOOL, diskimage.TOOL, *callers.TOOLS]}
QEMU = "/usr/bin/qemu-img"
LINE_SHOWN_MAX = 110
LINES_SHOWN_MAX = 16


def run_side(tool, side, looker):
    """[(outcome, images)] of each step."""
    side.as_nobody = tool.as_nobody
    found = []
    with tool.start(side):
        for line in tool.lines:
            outcome = side.run(line)
            images = looker.look(side.folder, tool.images, tool.inside)
            found.append((outcome, {side.normal(name): json.loads(side.normal(json.dumps(told))) for name, told in images.items()}))
    return found


def compare(qemu, byre):
    """What differs after a step, as {what: (with QEMU, with byre)}."""
    found = {what: (getattr(qemu[0], what), getattr(byre[0], what)) for what in ("code", "out", "err", "calls")}
    for name in sorted(set(qemu[1]) | set(byre[1])):
        found[f"image {name}"] = qemu[1].get(name), byre[1].get(name)
    return {what: pair for what, pair in found.items() if pair[0] != pair[1]}


def show(different):
    for what, pair in different.items():
        texts = [(value if isinstance(value, str) else json.dumps(value, indent=1)).splitlines() for value in pair]
        lines = list(difflib.unified_diff(*texts, "QEMU", "byre", lineterm="", n=1))
        print(f"    {what}:\n" + "\n".join(f"      {line[:LINE_SHOWN_MAX]}" for line in lines[:LINES_SHOWN_MAX]))


def unsound(outcome_and_images):
    """Images of byre's side that are not clean, or that the two programs read differently."""
    for name, told in outcome_and_images[1].items():
        for key, value in told.items():
            if key.startswith("check") and value not in (0, 63) or key.startswith("contents") and "different bytes" in str(value):
                yield f"{name}: {key}: {value}"


def run_tool(tool, arguments, base, looker):
    """[(tool, step, calls, verdict)], a row for each step."""
    folder = base / tool.name
    folder.mkdir()
    programs = {"qemu": QEMU, "byre": base / "programs/qemu-img"}
    begin = time.monotonic()
    sides = {name: run_side(tool, Side(name, program, folder), looker) for name, program in programs.items()}
    rows = []
    images_before = {}
    for line, qemu, byre in zip(tool.lines, sides["qemu"], sides["byre"]):
        found = compare(qemu, byre)
        different = {what: pair for what, pair in found.items() if images_before.get(what) != pair}
        images_before = {what: pair for what, pair in found.items() if what.startswith("image ")}
        broken = [problem for problem in unsound(byre) if problem not in unsound(qemu)]
        reason = differences.reason(tool.name, line, different)
        verdict = "DIFFERS" if broken or different and not reason else f"as listed: {reason}" if different else "same"
        rows.append((tool.name, line, calls_of(byre[0]), verdict, byre[0].code))
        if verdict == "DIFFERS" or arguments.verbose:
            print(f"  {verdict}: {line}  (exit code {byre[0].code}; {calls_of(byre[0])})")
            show(different)
            print("".join(f"    {problem}\n" for problem in broken), end="")
        if arguments.verbose:
            print("".join(f"    | {text}\n" for text in (byre[0].out + byre[0].err).splitlines()), end="", flush=True)
    called = sum(len(outcome.calls) for outcome, _ in sides["byre"])
    print(f"{tool.name}: {len(rows)} steps, {called} calls of byre's qemu-img, {time.monotonic() - begin:.0f} s", flush=True)
    if not arguments.keep:
        shutil.rmtree(folder)
    return rows


def calls_of(outcome):
    counts = collections.Counter(next((word for word in call["arguments"] if not word.startswith("-")), "help")
                                 for call in outcome.calls)
    return ", ".join(f"{count} {name}" if count > 1 else name for name, count in counts.items()) or "-"


def table(rows):
    print()
    lines = [("tool", "step", "calls", "result"), *[(tool, line[:LINE_SHOWN_MAX], calls, result) for tool, line, calls, result, _ in rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    for line in lines:
        print(f"{line[0]:{widths[0]}}  {line[1]:{widths[1]}}  {line[2]:{widths[2]}}  {line[3]}")


def main():
    parser = argparse.ArgumentParser(prog="scripts/try-tools", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool", nargs="*", help=f"of {', '.join(TOOLS)}; without any, all")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bin", help="the folder that has byre")
    parser.add_argument("--no-install", action="store_true", help="leave tools out whose packages are not installed")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the images")
    parser.add_argument("--verbose", action="store_true", help="show what each step has printed")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.tool if name not in TOOLS]
    if unknown:
        parser.error(f"no such tool: {', '.join(unknown)}")

    base = pathlib.Path(tempfile.mkdtemp(prefix="byre-tools-"))
    base.chmod(0o755)
    rows, left_out = [], []
    try:
        byre = copy_programs(arguments.programs, base / "programs")
        looker = Looker(QEMU, byre, base)
        for name in arguments.tool or TOOLS:
            missing = packages.provide(TOOLS[name].packages, install=not arguments.no_install)
            if missing:
                left_out.append(f"{name}: {missing}")
                continue
            rows += run_tool(TOOLS[name], arguments, base, looker)
    finally:
        if arguments.keep:
            print(f"the images are in {base}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    table(rows)
    for reason in left_out:
        print(f"LEFT OUT: {reason}")
    failed = sum(row[3] == "DIFFERS" for row in rows)
    print(f"\ntools: {len(rows) - failed} passed, {failed} failed, {len(left_out)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
