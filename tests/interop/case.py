# SPDX-License-Identifier: Apache-2.0
"""A case: one row of a table, run in a directory of its own, with the subject and QEMU."""
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from typing import Callable

import differences
from programs import Program


class Failure(Exception):
    """The case has failed."""


class Skip(Exception):
    """The case cannot be run here; the message says what is missing."""


@dataclasses.dataclass
class Case:
    name: str
    run: Callable  # called with the World
    byre_only: bool = False  # uses what QEMU does not have, or asserts what QEMU does not do


def digest(path):
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class World:
    """A case's directory and its programs. `a` is where the subject writes, `b` where QEMU does; both are created on
    demand, and names inside them are the same, so that the outputs can be the same."""

    def __init__(self, folder, tools):
        self.folder = folder
        self.subject = tools.subject
        self.byre = dataclasses.replace(tools.subject, name="byre")  # for features that only byre has
        self.subject_io = (dataclasses.replace(tools.subject, name="qemu-io") if tools.subject_is_byre
                           else tools.qemu_io)
        self.qemu = tools.qemu
        self.qemu_io = tools.qemu_io
        self.corpus = tools.corpus
        self.subject_is_byre = tools.subject_is_byre

    def side(self, name):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def a(self):
        return self.side("a")

    @property
    def b(self):
        return self.side("b")

    # Preparing files with QEMU.

    def make(self, *arguments, folder=None, code=0):
        """Runs qemu-img to prepare something; any exit code but `code` is an error of the case itself."""
        result = self.qemu.run(arguments, folder or self.folder)
        if result.code != code:
            raise Failure(f"cannot prepare:\n{result.text()}")
        return result

    def write(self, image, *commands, folder=None, options=()):
        """Runs qemu-io commands on an image."""
        arguments = list(options)
        for command in commands:
            arguments += ["-c", command]
        result = self.qemu_io.run([*arguments, image], folder or self.folder)
        if result.code != 0 or b"failed" in result.out + result.err:
            raise Failure(f"cannot prepare:\n{result.text()}")

    def copy_to_sides(self):
        """Copies everything prepared so far, once for each side, including holes."""
        made = [path for path in sorted(self.folder.iterdir()) if path.name not in ("a", "b")]
        for side in (self.a, self.b):
            for path in made:
                if path.is_dir():
                    shutil.copytree(path, side / path.name, symlinks=True)
                else:
                    copy_sparse(path, side / path.name)

    # Comparing.

    def compare_on_same_files(self, *arguments, folder=None, **limits):
        """Runs both programs on the very same files: everything that they print must be the same."""
        folder = folder or self.folder
        theirs = self.qemu.run(arguments, folder, **limits)
        ours = self.subject.run(arguments, folder, **limits)
        self.equal(arguments, ours, theirs)
        return ours

    def compare_on_copies(self, *arguments, **limits):
        """Runs each program in its own directory: everything that they print must be the same."""
        theirs = self.qemu.run(arguments, self.b, **limits)
        ours = self.subject.run(arguments, self.a, **limits)
        self.equal(arguments, ours, theirs)
        return ours

    def equal(self, arguments, ours, theirs):
        mine, wanted = differences.apply(arguments, self.folder, ours, theirs)
        if (mine.out, mine.err, mine.code) != (wanted.out, wanted.err, wanted.code):
            raise Failure(f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")

    def run_subject(self, *arguments, folder=None, code=0, **limits):
        """Runs the subject alone; any exit code but `code` is a failure."""
        result = self.subject.run(arguments, folder or self.folder, **limits)
        if code is not None and result.code != code:
            raise Failure(f"expected exit code {code}:\n{result.text()}")
        return result

    def run_as_byre(self, *arguments, folder=None):
        """Runs the subject as `byre`, for features that qemu-img does not have."""
        result = self.byre.run(arguments, folder or self.folder)
        if result.code != 0:
            raise Failure(result.text())
        return result

    def run_qemu(self, *arguments, folder=None, code=0):
        """Runs QEMU to check the subject's output; any exit code but `code` is a failure."""
        result = self.qemu.run(arguments, folder or self.folder)
        if result.code != code:
            raise Failure(f"QEMU does not agree, expected exit code {code}:\n{result.text()}")
        return result

    def info(self, image, folder=None):
        """QEMU's view of an image, without what depends on the host's file system."""
        return normal_info(json.loads(self.run_qemu("info", "--output=json", image, folder=folder).out))

    def expect(self, condition, message):
        if not condition:
            raise Failure(message)


def normal_info(info):
    """An image's info without its sizes on the host, at every level: the length of a qcow2 file depends on where
    clusters were placed and how well they were compressed."""
    if isinstance(info, dict):
        hidden = ("actual-size", "virtual-size") if info.get("format") == "file" else ("actual-size",)
        return {key: normal_info(value) for key, value in info.items() if key not in hidden}
    if isinstance(info, list):
        return [normal_info(value) for value in info]
    return info


def copy_sparse(source, target):
    """Copies a file with its holes, so that both copies take the same space."""
    if source.is_symlink() or not source.is_file():
        shutil.copy2(source, target, follow_symlinks=False)
        return
    size = source.stat().st_size
    with open(source, "rb") as reader, open(target, "wb") as writer:
        writer.truncate(size)
        place = 0
        while place < size:
            try:
                start = os.lseek(reader.fileno(), place, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            reader.seek(start)
            writer.seek(start)
            while start < end:
                chunk = reader.read(min(1 << 20, end - start))
                writer.write(chunk)
                start += len(chunk)
            place = end
    shutil.copymode(source, target)


@dataclasses.dataclass(frozen=True)
class Tools:
    subject: Program
    qemu: Program
    qemu_io: Program
    corpus: pathlib.Path | None
    subject_is_byre: bool
