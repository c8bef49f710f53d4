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
from guest_requests import LENGTH_MAX, Requests
from image_commands import Commands
from image_plan import SECTOR, make_plan
from process_options import IMAGE, make_process_options

STEPS = 5  # each a batch of requests, or a command
REQUESTS = 16  # minimum length of a batch

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


@dataclasses.dataclass
class Disk:
    """What the image is and should contain."""

    plan: object
    model: DiskModel = None
    backing: DiskModel = None  # None: there is none
    requests: Requests = None
    snapshots: dict = dataclasses.field(default_factory=dict)  # models of that time, by name

    def forget_in_snapshots(self, one, other):
        for model in self.snapshots.values():
            model.forget_differences(one, other)


class Session:
    def __init__(self, seed, folder, tools, left_out=frozenset()):
        self.random = randomness.Random(seed)
        self.folder = folder
        self.left_out = left_out
        self.qemu = tools.qemu
        self.sides = [Side("byre", tools.subject, tools.subject_io),
                      Side("QEMU", tools.qemu, tools.qemu_io)]
        self.disk = Disk(make_plan(self.random, left_out))
        self.log = [str(self.disk.plan)]  # what was done, for the report

    def run(self):
        self._make_images()
        disk = self.disk
        disk.requests = Requests(self.random, disk.plan, disk.model, self.left_out)
        commands = Commands(self.random, disk, self)
        for number in range(STEPS):
            command = commands.draw() if number > 0 and self.random.random() < 0.5 else None
            if command:
                self._run_command(command)
            else:
                self._run_batch()
            self._expect_equal_and_clean()
            # At the end each program is asked for what it wrote itself.
            if number + 1 < STEPS and self.random.random() < 0.4:
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
        plan = self.disk.plan
        first, second = (self.folder / name for name in ("1", "2"))
        first.mkdir()
        second.mkdir()
        pair = self._attach_devices(first, second) if plan.on_device else None
        for side, folder in zip(self.sides, (first, second)):
            side.folder = folder
        content = b""
        if plan.backing_format:
            content = self.random.randbytes(plan.backing_size)
            self.make_backing(plan.backing_file, plan.backing_format, content)
            self.disk.backing = DiskModel(content)
        maker = self.random.choice(self.sides).image_tool
        self._must(maker.run(["create", "-q", "-f", "qcow2", "-o", plan.option_list(), IMAGE,
                              str(plan.size)], first))
        if pair:
            pair[1].copy_from(pair[0])
        else:
            self._copy(IMAGE)
        if plan.data_file:
            self._copy("data")
        self.disk.model = DiskModel(plan.size)
        self.disk.model.overwrite(DiskModel(content[:plan.size]))

    def _copy(self, name):
        """From the first side to the second, with holes: what a file system does with zeroes depends on them."""
        first, second = (side.folder for side in self.sides)
        subprocess.run(["cp", "-a", "--sparse=always", first / name, second], check=True)

    def make_backing(self, name, kind, content, chain=None):
        """`chain`: the name of another file, which it is on, and which has most of the contents."""
        folder = self.sides[0].folder
        side = self.random.choice(self.sides)
        if kind == "raw":
            (folder / name).write_bytes(content)
        elif chain:
            begin = self.random.randrange(len(content) // SECTOR) * SECTOR
            part = content[begin:begin + self.random.randrange(SECTOR, LENGTH_MAX)]
            other = self.random.randbytes(len(part))
            (folder / chain).write_bytes(content[:begin] + other + content[begin + len(part):])
            self._copy(chain)
            self._must(side.image_tool.run(["create", "-q", "-f", "qcow2", "-b", chain, "-F", "raw", name], folder))
            (folder / "content").write_bytes(part)
            write = f"write -q -s content {begin} {len(part)}"
            self._must(side.io_tool.run(["-f", "qcow2", "-c", write, name], folder))
        else:
            (folder / "content").write_bytes(content)
            self._must(side.image_tool.run(["convert", "-f", "raw", "-O", "qcow2", "content", name], folder))
        self._copy(name)

    def replace_image(self, name):
        for side in self.sides:
            (side.folder / name).replace(side.folder / IMAGE)

    def _run_command(self, command):
        results = [side.image_tool.run(command.arguments, side.folder) for side in self.sides]
        self._expect_same_output(results)
        self.log.append(results[0].text())
        if results[0].code == 0:
            command.done()

    def _run_batch(self):
        compresses = not self.disk.plan.data_file and self.random.random() < 0.2
        options = make_process_options(self.random, self.disk.plan, self.left_out)
        self.disk.requests.discards = options.discards
        self._run_requests(options, self.disk.requests.batch(REQUESTS, compresses))

    def _run_requests(self, options, commands):
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
        if any(NEEDS_FALLBACK in result.out for result in results):
            for result in results:
                result.out = result.out.replace(NEEDS_FALLBACK, b"")
                result.code = 0
        self._expect_same_output(results)

    def _expect_same_output(self, results):
        ours, theirs = results
        if (ours.out, ours.err, ours.code) != (theirs.out, theirs.err, theirs.code):
            raise Difference(f"they print different things\n$ {ours.command}\n" + self._show_both(ours, theirs))

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
        if self.disk.plan.data_file:  # its name is relative to the directory that a program runs in
            if self._contents(self.sides[0]) != self._contents(self.sides[1]):
                raise Difference("the disks differ")
            return
        comparer = self.random.choice(self.sides).image_tool
        result = comparer.run(["compare", one / IMAGE, other / IMAGE], self.folder)
        if result.code != 0:
            raise Difference("the disks differ\n" + result.text())

    def _contents(self, side, arguments=(), name=IMAGE, kind="qcow2"):
        """A disk as read by either program."""
        reader = self.random.choice(self.sides).image_tool
        out = side.folder / "contents"
        result = reader.run(["convert", "-f", kind, "-O", "raw", *arguments, name, "contents"], side.folder)
        if result.code != 0:
            raise Difference(result.text())
        content = out.read_bytes()
        out.unlink()
        return content

    def _expect_model(self):
        model = self.disk.model
        side = self.random.choice(self.sides)
        self._expect_bytes(self._contents(side), model, "the disk")
        if self.disk.plan.options.get("data_file_raw"):
            for each in self.sides:
                data = (each.folder / "data").read_bytes()[:len(model)]
                data += bytes(len(model) - len(data))
                self._expect_bytes(data, model, f"{each.name}'s raw data file")

    def expect_backing(self):
        plan = self.disk.plan
        for side in self.sides:
            found = self._contents(side, name=plan.backing_file, kind=plan.backing_format)
            self._expect_bytes(found, self.disk.backing, f"{side.name}'s backing file")

    def _expect_snapshots(self):
        for name, model in self.disk.snapshots.items():
            for side in self.sides:
                # A snapshot is read with the current size of the disk.
                found = self._contents(side, ["-l", name])[:len(model)]
                self._expect_bytes(found, model.first(len(found)), f"snapshot {name}, {side.name}'s folder")

    @staticmethod
    def _expect_bytes(found, model, what):
        if len(found) != len(model):
            raise Difference(f"{what} has {len(found)} bytes, {len(model)} were expected")
        if 0 not in model.known and found == model.data:
            return
        for at, is_known in enumerate(model.known):
            if is_known and found[at] != model.data[at]:
                raise Difference(f"{what} has {found[at]} at {at}, {model.data[at]} was written there")
