# SPDX-License-Identifier: Apache-2.0
"""One seed: one image, batches of requests, and what must hold after each of them."""
import dataclasses
import random as randomness
import re
import shlex
import subprocess
import types

import devices
from disk_model import DiskModel
from guest_requests import Requests
from image_plan import make_plan
from process_options import IMAGE, make_process_options

BATCHES = 4
COMMANDS = 16  # minimum length of a batch
SNAPSHOTS_MAX = 2

# "64 KiB, 1 ops; 00.00 sec (1.2 GiB/sec and 4567.8 ops/sec)": the times differ between runs.
TIMES = re.compile(rb"(?<=ops; ).*")
# The result of `write -z -n`; nothing else prints it.
NEEDS_FALLBACK = b"write failed: Operation not supported\n"


class Difference(Exception):
    pass


@dataclasses.dataclass
class Side:
    """One program, and the directory of the image that it currently works on."""

    name: str
    image_tool: object  # as qemu-img
    io_tool: object     # as qemu-io
    folder: object = None


def first_difference(ours, theirs):
    length = min(len(ours), len(theirs))
    at = next((i for i in range(length) if ours[i] != theirs[i]), length)
    return at if at < max(len(ours), len(theirs)) else None


class Session:
    def __init__(self, seed, folder, tools, left_out=frozenset()):
        self.random = randomness.Random(seed)
        self.folder = folder
        self.left_out = left_out
        self.qemu = tools.qemu
        self.sides = [Side("byre", tools.subject, tools.subject_io),
                      Side("QEMU", tools.qemu, tools.qemu_io)]
        self.plan = make_plan(self.random, left_out)
        self.snapshots = []  # (name, model of that time)
        self.log = []        # what was done, for the report
        self.model = None

    def run(self):
        self._make_images()
        requests = Requests(self.random, self.plan, self.model, self.left_out)
        for number in range(BATCHES):
            compresses = not self.plan.data_file and self.random.random() < 0.2
            options = make_process_options(self.random, self.plan, self.left_out)
            requests.discards = options.discards
            commands = requests.batch(COMMANDS, compresses)
            self._run_batch(options, commands)
            self._expect_equal_and_clean()
            self._maybe_take_snapshot()
            # At the end each program is asked for what it wrote itself.
            if number + 1 < BATCHES and self.random.random() < 0.5:
                first, second = self.sides
                first.folder, second.folder = second.folder, first.folder
        self._expect_model()
        self._expect_snapshots()

    def _must(self, result):
        self.log.append(result.command)
        if result.code != 0:
            raise Difference(f"preparing failed\n{result.text()}")
        return result

    def _attach_devices(self, first, second):
        for folder in (first, second):
            (folder / IMAGE).symlink_to("dev")
        places = types.SimpleNamespace(folder=self.folder, a=first, b=second)
        return devices.pair(places, self.random.choice((512, 4096)), is_old=self.random.random() < 0.7)

    def _make_images(self):
        plan = self.plan
        first, second = (self.folder / name for name in ("1", "2"))
        first.mkdir()
        second.mkdir()
        pair = self._attach_devices(first, second) if plan.on_device else None
        content = b""
        if plan.backing_format:
            content = self.random.randbytes(plan.backing_size)
            raw = first / ("backing" if plan.backing_format == "raw" else "content")
            raw.write_bytes(content)
            if plan.backing_format == "qcow2":
                self._must(self.qemu.run(["convert", "-f", "raw", "-O", "qcow2", "content", "backing"],
                                         first))
                raw.unlink()
        maker = self.random.choice(self.sides).image_tool
        self._must(maker.run(["create", "-q", "-f", "qcow2", "-o", plan.option_list(), IMAGE,
                              str(plan.size)], first))
        if pair:
            pair[1].copy_from(pair[0])
        for path in first.iterdir():
            # Including its holes: what a file system does with zeroes depends on them.
            if not path.is_symlink():
                subprocess.run(["cp", "-a", "--sparse=always", path, second], check=True)
        for side, folder in zip(self.sides, (first, second)):
            side.folder = folder
        self.model = DiskModel(plan.size)
        self.model.put(0, content[:plan.size])

    def _run_batch(self, options, commands):
        arguments = [part for command in commands for part in ("-c", command)]
        results = []
        for side in self.sides:
            result = side.io_tool.run(arguments + options.of(side.name), side.folder)
            if not results:
                self.log.append(f"{shlex.join(['qemu-io', *options.arguments])}\n"
                                + "\n".join("    " + command for command in commands))
            result.out = TIMES.sub(b"...", result.out)
            if not results:
                self.log += [f"    printed: {line}" for line in self._show(result).splitlines()
                             if re.search("failed|qemu-io:", line)]
            results.append(result)
            if b"Pattern verification failed" in result.out:
                raise Difference(f"{side.name} reads what was not written\n{self._show(result)}")
            if result.code not in (0, 1):
                raise Difference(f"{side.name} ended with {result.code}\n{self._show(result)}")
        ours, theirs = results
        if any(NEEDS_FALLBACK in result.out for result in results):
            for result in results:
                result.out = result.out.replace(NEEDS_FALLBACK, b"")
                result.code = 0
        if (ours.out, ours.err, ours.code) != (theirs.out, theirs.err, theirs.code):
            raise Difference("they print different things\n" + self._show_both(ours, theirs))

    @staticmethod
    def _show(result):
        return (result.out + result.err).decode(errors="replace") + f"exit code {result.code}"

    def _show_both(self, ours, theirs):
        lines = [self._show(result).splitlines() for result in (ours, theirs)]
        at = next((i for i, pair in enumerate(zip(*lines)) if pair[0] != pair[1]),
                  min(map(len, lines)))
        shown = []
        for side, text in zip(self.sides, lines):
            shown += [f"--- {side.name}, from line {at + 1} on"] + text[max(at - 1, 0):at + 5]
        return "\n".join(shown)

    def _expect_equal_and_clean(self):
        one, other = self.sides[0].folder, self.sides[1].folder
        for folder in (one, other):
            writer = next(side.name for side in self.sides if side.folder == folder)
            for side in self.sides:
                result = side.image_tool.run(["check", IMAGE], folder)
                if result.code != 0:
                    raise Difference(f"written by {writer}, not clean under {side.name}'s check\n"
                                     + result.text())
        if self.plan.data_file:  # its name is relative to the directory that a program runs in
            if self._contents(self.sides[0]) != self._contents(self.sides[1]):
                raise Difference("the disks differ")
            return
        comparer = self.random.choice(self.sides).image_tool
        result = comparer.run(["compare", one / IMAGE, other / IMAGE], self.folder)
        if result.code != 0:
            raise Difference("the disks differ\n" + result.text())

    def _maybe_take_snapshot(self):
        if not self.plan.snapshots or len(self.snapshots) == SNAPSHOTS_MAX or self.random.random() < 0.5:
            return
        name = f"s{len(self.snapshots)}"
        for side in self.sides:
            self._must(self.qemu.run(["snapshot", "-c", name, IMAGE], side.folder))
        self.snapshots.append((name, bytes(self.model.data), bytes(self.model.known)))

    def _contents(self, side, arguments=()):
        """The disk as read by the other program."""
        reader = self.random.choice(self.sides).image_tool
        out = side.folder / "contents"
        result = reader.run(["convert", "-O", "raw", *arguments, IMAGE, "contents"], side.folder)
        if result.code != 0:
            raise Difference(result.text())
        content = out.read_bytes()
        out.unlink()
        return content

    def _expect_model(self):
        side = self.random.choice(self.sides)
        self._expect_bytes(self._contents(side), self.model.data, self.model.known, "the disk")
        if self.plan.options.get("data_file_raw"):
            for each in self.sides:
                data = (each.folder / "data").read_bytes()[:len(self.model)]
                data += bytes(len(self.model) - len(data))
                self._expect_bytes(data, self.model.data, self.model.known,
                                   f"{each.name}'s raw data file")

    def _expect_snapshots(self):
        for name, data, known in self.snapshots:
            for side in self.sides:
                found = self._contents(side, ["-l", name])
                # A snapshot is read with the current size of the disk.
                size = min(len(found), len(data))
                self._expect_bytes(found[:size], data[:size], known[:size],
                                   f"snapshot {name}, {side.name}'s folder")

    @staticmethod
    def _expect_bytes(found, expected, known, what):
        if len(found) != len(expected):
            raise Difference(f"{what} has {len(found)} bytes, {len(expected)} were expected")
        if 0 not in known and found == expected:
            return
        for at, is_known in enumerate(known):
            if is_known and found[at] != expected[at]:
                raise Difference(f"{what} has {found[at]} at {at}, {expected[at]} was written there")
