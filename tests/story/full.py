# SPDX-License-Identifier: Apache-2.0
"""The disk becomes full in the middle of a command: on tmpfs, and on ext4 on a loop device. When there is room again, one of
the programs runs the same command."""
import contextlib
import os
import pathlib
import random
import subprocess

import images
from commands import go_on, look
from programs import Failed, same

MIB = 1 << 20
KINDS = ("tmpfs", "ext4")


@contextlib.contextmanager
def small_disk(kind, base, size):
    """A file system of a given size, mounted in `base`."""
    place = base / f"small-{kind}"
    place.mkdir()
    try:
        if kind == "tmpfs":
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)
        else:
            with open(base / "small.disk", "wb") as file:
                file.truncate(size)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", base / "small.disk"], check=True)
            subprocess.run(["mount", "-o", "loop", base / "small.disk", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", place], check=False)
        place.rmdir()
        (base / "small.disk").unlink(missing_ok=True)


def used(place):
    told = os.statvfs(place)
    return (told.f_blocks - told.f_bfree) * told.f_frsize


def leave(place, room):
    """Takes all but some bytes."""
    told = os.statvfs(place)
    with open(place / "filler", "wb") as file:
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, told.f_bavail * told.f_frsize - room))


def run(command, source, base, kind, programs, times, seed):
    """Returns (times there was no room, of them with leaks, what it needs)."""
    with small_disk(kind, base, 1400 * MIB) as folder:
        return _run(command, source, folder, programs, times, seed)


def _run(command, source, folder, programs, times, seed):
    byre, _ = programs
    images.copy(source, folder, *command.files)
    before = used(folder)
    byre.run(*command.arguments, folder=folder)
    needs = max(used(folder) - before, 64 * 1024)
    same(programs, source / command.after, "raw", command.image, folder)
    choice = random.Random(seed)
    failed = leaks = 0
    for number in range(times):
        images.copy(source, folder, *command.files)
        room = choice.randrange(0, needs)
        leave(folder, room)
        result = byre.run(*command.arguments, folder=folder, code=None)
        try:
            _judge(result, folder, command)
            failed += result.code != 0
            leaks += look(command, source, folder, programs, result.code == 0)
            (folder / "filler").unlink()
            go_on(command, source, folder, programs, number)
        except Failed as failure:
            raise Failed(f"{command.name}, {room} of {needs} bytes of room, try {number}:\n{result.text()}\n{failure}") from failure
    return failed, leaks, needs


def _judge(result, folder, command):
    if result.code not in (0, 1) or result.code == 1 and "No space left on device" not in result.err:
        raise Failed(f"does not say what is wrong:\n{result.text()}")
    made = command.image not in command.files and pathlib.Path(folder / command.image).exists()
    if result.code == 1 and made:
        raise Failed(f"{command.image} is still there:\n{result.text()}")
