# SPDX-License-Identifier: Apache-2.0
"""File systems that fill up while an image on them is being written, and have room again later: what was acknowledged
can be read, at once and after a close."""
import copy
import errno
import os
import re
import shutil
import subprocess

import devices
from case import Case
from cases_locks import read_to_prompt, tell
from images import KIB, MIB

FREE = 8 * MIB  # the available space
LENGTH = 384 * KIB
OFFSETS = range(0, 48 * MIB, MIB)
FILE_SYSTEMS = ["ext4", "xfs"]
LAYOUTS = [("qcow2", ""), ("qcow2", "cluster_size=4k"), ("qcow2", "data_file=data"), ("qcow2", "lazy_refcounts=on"),
           ("raw", "")]
MODES = [[], ["-t", "none"], ["-t", "writethrough"]]


def add_ballast(folder):
    """Files that leave FREE bytes of the file system."""
    number = 0
    part = 2  # of what is too much: a file system takes some for itself
    while part <= 64:
        subprocess.run(["sync", "-f", folder], check=True)  # btrfs frees what was removed when it commits
        status = os.statvfs(folder)
        surplus = status.f_bavail * status.f_frsize - FREE
        if surplus < MIB:
            return
        file = os.open(folder / f"ballast{number}", os.O_WRONLY | os.O_CREAT)
        number += 1
        try:
            os.posix_fallocate(file, 0, max(surplus // part, MIB))
            os.fsync(file)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            part *= 2
        finally:
            os.close(file)


def remove_ballast(folder):
    for path in folder.glob("ballast*"):
        path.unlink()
    subprocess.run(["sync", "-f", folder], check=True)


class Session:
    """A qemu-io that receives commands while it runs."""

    def __init__(self, program, folder, arguments):
        self.process = program.start(arguments, folder, stdin=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.text = read_to_prompt(self.process)

    def ask(self, commands):
        """What they print."""
        text = "".join(tell(self.process, command) for command in commands)
        self.text += text
        return text

    def end(self):
        self.process.stdin.close()
        self.text += self.process.stdout.read().decode()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def writes(offsets, byte):
    return [f"write -P {byte} {at} {LENGTH}" for at in offsets]


def acknowledged(text):
    return {int(at) for at in re.findall(rf"wrote {LENGTH}/{LENGTH} bytes at offset (\d+)", text)}


def readable(program, folder, kind, offsets, byte):
    """The offsets that hold what was written, as a new process finds it."""
    found = set()
    for at in offsets:
        line = ["-r", "-f", kind, "-c", f"read -P {byte} {at} {LENGTH}", "image"]
        result = program.run(line, folder)
        if result.code == 0 and b"failed" not in result.out + result.err:
            found.add(at)
    return found


def fill(world, program, side, kind, mode, makes_room):
    """(acknowledged before there was room, afterwards) of the requests, and all that was printed."""
    add_ballast(side)
    session = Session(program, side, [*mode, "-f", kind, "image"])
    try:
        text = session.ask(writes(OFFSETS, 7))
        before = acknowledged(text)
        world.expect("No space left on device" in text, f"it was not full:\n{text}")
        world.expect(len(before) < len(OFFSETS), "all of it fitted")
        seen = session.ask([f"read -P 7 {at} {LENGTH}" for at in before])
        world.expect("failed" not in seen, f"not to be read at once:\n{seen}")
        after = set()
        if makes_room:
            remove_ballast(side)
            rest = [at for at in OFFSETS if at not in before]
            after = acknowledged(session.ask([*writes(rest, 7), "flush"]))
            session.ask(["discard 0 64k"])
    finally:
        session.end()
    remove_ballast(side)
    return before, after, session.text


def filling(file_system, kind, options, mode, makes_room):
    def run(outer):
        world = copy.copy(outer)
        world.folder = devices.file_system(outer, file_system)
        try:
            for program, side in ((world.qemu_io, world.b), (world.subject_io, world.a)):
                extra = ["-o", options] if options else []
                world.make("create", "-q", "-f", kind, *extra, "image", "64M", folder=side)
                before, after, text = fill(world, program, side, kind, mode, makes_room)
                found = readable(world.qemu_io, side, kind, before | after - {0}, 7)
                if side == world.a:
                    world.expect(before, f"nothing was acknowledged:\n{text}")
                    lost = sorted((before | after - {0}) - found - ({0} if makes_room else set()))
                    is_told = file_system == "btrfs" and "Failed to flush" in text
                    world.expect(not lost or is_told, f"lost are {lost}:\n{text}")
                    if makes_room:
                        world.expect(before | after == set(OFFSETS), f"it did not go on:\n{text}")
                    if kind == "qcow2":
                        check = world.qemu.run(["check", "image"], side)
                        world.expect(check.code in (0, 3), f"it is not sound:\n{check.text()}\n{text}")
                shutil.rmtree(side)
        finally:
            shutil.rmtree(world.folder)
    then = "room again" if makes_room else "a close"
    return Case(f"{file_system}, {kind} {options} {' '.join(mode)}: full, then {then}", run)


def cases():
    for file_system in FILE_SYSTEMS:
        for number, (kind, options) in enumerate(LAYOUTS):
            for mode in MODES if number == 0 else MODES[:1]:
                for makes_room in (True, False):
                    yield filling(file_system, kind, options, mode, makes_room)
    # It writes elsewhere when it overwrites, so that a close may fail once it is full. In that case it reports an
    # error, and nothing that was flushed before is lost; see docs/proofs.md.
    for kind, options in LAYOUTS:
        yield filling("btrfs", kind, options, [], False)
