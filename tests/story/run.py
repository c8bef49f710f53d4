#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Debian disk of several GiB in the hands of byre and QEMU, and byre killed and out of space; scripts/story calls it.

Parts: `story`, the life of the disk, each step read by both programs; `kills`, byre is killed in the middle of its commands;
`full`, the disk becomes full in the middle of them. Needs root: for debootstrap, mounts and loop devices.
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.append(str(ROOT / "tests/tools"))

import full  # noqa: E402
import images  # noqa: E402
import kills  # noqa: E402
import packages  # noqa: E402  (in the directory of the tools)
from commands import COMMANDS  # noqa: E402
from programs import Failed, Program  # noqa: E402
from story import Story  # noqa: E402

MIB = 1 << 20
PARTS = ("story", "kills", "full")
SPACE_NEEDED = 24 << 30


def tell_story(folder, programs, arguments):
    missing = packages.provide(["debootstrap"], install=True)
    if missing:
        raise Failed(missing)
    story = Story(folder, programs, arguments.size * MIB, arguments.fill * MIB)
    try:
        story.tell()
    finally:
        if story.rows:
            story.table()


def stop_commands(parts, folder, programs, arguments):
    """Kills and full disks."""
    source, work = folder / "source", folder / "work"
    for place in (source, work):
        place.mkdir()
    images.make(source, programs)
    print(f"\n{'command':24} {'stopped by':12} {'times':>5} {'leaks':>5}  whole command")
    for command in COMMANDS:
        for how in [*(["kill"] if "kills" in parts else []), *(full.KINDS if "full" in parts else [])]:
            if how == "kill":
                stopped, leaks, whole = kills.run(command, source, work, programs, arguments.times, arguments.seed)
                amount = f"{whole:.2f} s"
            else:
                stopped, leaks, needs = full.run(command, source, work, how, programs, arguments.times, arguments.seed)
                amount = f"{needs / MIB:.1f} MiB"
            print(f"{command.name:24} {how:12} {stopped:5} {leaks:5}  {amount}", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/story", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", help=f"of {', '.join(PARTS)}; without any, all")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bin", help="the folder that has byre")
    parser.add_argument("--size", type=int, default=4096, help="of the disk, in MiB (default: 4096)")
    parser.add_argument("--fill", type=int, default=900, help="MiB of the machine's files beside Debian (default: 900)")
    parser.add_argument("--times", type=int, default=20, help="how often each command is stopped (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and the free space")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the images")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    if not set(parts) <= set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}")
    if os.geteuid() != 0:
        sys.exit("scripts/story needs root, for debootstrap, mounts and loop devices")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="byre-story-"))
    free = shutil.disk_usage(folder).free
    if free < SPACE_NEEDED:
        sys.exit(f"scripts/story needs {SPACE_NEEDED >> 30} GiB in {folder.parent}; {free >> 20} MiB are free")
    # A copy, which no build replaces.
    byre = folder / "byre"
    shutil.copy2(arguments.programs / "byre", byre)
    programs = (Program("byre", byre, byre), Program("QEMU", pathlib.Path("/usr/bin/qemu-img"), pathlib.Path("/usr/bin/qemu-io")))
    try:
        if "story" in parts:
            (folder / "disk").mkdir()
            tell_story(folder / "disk", programs, arguments)
        if {"kills", "full"} & set(parts):
            stop_commands(parts, folder, programs, arguments)
    except Failed as failure:
        print(f"\nFAILED: {failure}")
        return 1
    finally:
        if arguments.keep:
            print(f"the images are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print("\nEverything held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
