# SPDX-License-Identifier: Apache-2.0
"""byre and QEMU: how to run them, and what each says about an image."""
import dataclasses
import os
import pathlib
import signal
import subprocess
import time

# 0: clean; 3: leaks, which an interrupted command may leave.
CLEAN = (0,)
WITHOUT_CORRUPTION = (0, 3)
LINES_MAX = 20


class Failed(Exception):
    """Something is not as it should be; the message has the command lines."""


@dataclasses.dataclass
class Result:
    command: str
    code: int
    out: str
    err: str
    seconds: float

    def text(self):
        lines = (self.out + self.err).splitlines()
        left_out = [f"... ({len(lines) - LINES_MAX} lines)"] if len(lines) > LINES_MAX else []
        return "\n".join([f"$ {self.command}", *lines[:LINES_MAX], *left_out, f"exit code {self.code}"])


@dataclasses.dataclass(frozen=True)
class Program:
    name: str
    image: pathlib.Path  # qemu-img or its replacement
    io: pathlib.Path     # qemu-io or its replacement

    def run(self, *arguments, folder, code=0, shell=False, tool="qemu-img", prefix=(), send=None):
        """Runs it under QEMU's name; any exit code but `code` fails, None allows all."""
        path = self.io if tool == "qemu-io" else self.image
        arguments = [str(argument) for argument in arguments]
        begin = time.monotonic()
        process = subprocess.Popen([*prefix, *_named(tool, path), *arguments], cwd=folder, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        out, err = process.communicate(send)
        result = Result(f"{self.name}: {tool} {' '.join(arguments)}", process.returncode, out, err, time.monotonic() - begin)
        if code is not None and result.code != code:
            raise Failed(f"expected exit code {code}:\n{result.text()}")
        return result

    def run_and_kill(self, *arguments, folder, after):
        """Runs it and kills it after some seconds; whether it was killed before it ended."""
        process = subprocess.Popen([*_named("qemu-img", self.image), *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(after)
            return False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True


def _named(name, path):
    return ["bash", "-c", f"exec -a {name} \"$0\" \"$@\"", os.fspath(path)]


def check(programs, image, folder, allowed=CLEAN):
    """Both programs' checks."""
    for program in programs:
        result = program.run("check", image, folder=folder, code=None)
        if result.code not in allowed:
            raise Failed(result.text())


def same(programs, wanted, wanted_format, image, folder):
    """Both programs find that the image has the contents of `wanted`."""
    for program in programs:
        result = program.run("compare", "-f", wanted_format, "-F", "qcow2", wanted, image, folder=folder, code=None)
        if result.code != 0:
            raise Failed(result.text())
