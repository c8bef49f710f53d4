# SPDX-License-Identifier: Apache-2.0
"""The shell `qemu-io`: byre under that name beside QEMU's, in folders alike. What they print on each stream
(times and rates masked), the exit code, and the disks that they leave must be the same."""
import dataclasses
import json
import pathlib
import re
import shlex

import cases_lines
import differences
import images
from case import Case

HERE = pathlib.Path(__file__).resolve().parent

# How long a request took, and what follows from it: of the right form, but never twice the same.
_REPORT = re.compile(rb"(?m)^([\d.]+ (?:bytes|[KMGTPE]iB), 1 ops; )(?:\d\d\.\d\d sec|\d+:\d\d:\d\d\.\d\d) "
                     rb"\([\d.]+ (?:bytes|[KMGTPE]iB)/sec and \d+\.\d{4} ops/sec\)$")
_MACHINE = re.compile(rb"(?m)^(\d+,1,)\d+:\d\d:\d\d\.\d\d,\d+\.\d{3},\d+\.\d{3}$")


def masked(result):
    out = _MACHINE.sub(rb"\1<time>", _REPORT.sub(rb"\1<time>", result.out))
    return dataclasses.replace(result, out=out)


def twin(world, arguments, send=None):
    """Both programs, each in its own folder; all that they tell must be the same."""
    theirs = world.qemu_io.run(arguments, world.b, send=send)
    ours = world.subject_io.run(arguments, world.a, send=send)
    compare(world, arguments, ours, theirs)
    return ours


def compare(world, arguments, ours, theirs):
    mine, wanted = differences.apply(["qemu-io", *arguments], world.folder, masked(ours), masked(theirs))
    if (mine.out, mine.err, mine.code) != (wanted.out, wanted.err, wanted.code):
        world.expect(False, f"subject:\n{ours.text()}\nQEMU:\n{theirs.text()}")


def same_disks(world):
    """Every file that one of them left is there on both sides: the same bytes or, for qcow2, the same disk
    in the same state, sound for both checkers."""
    mine, wanted = cases_lines.names_and_sizes(world.a), cases_lines.names_and_sizes(world.b)
    world.expect(mine == wanted, f"leaves other files: {mine}\nQEMU: {wanted}")
    for name, kind in wanted.items():
        if kind == "qcow2":
            same_image(world, name)
        elif kind != "folder":
            world.expect((world.a / name).read_bytes() == (world.b / name).read_bytes(),
                         f"{name} has other bytes than QEMU's")


def same_image(world, name):
    if (world.a / name).read_bytes() == (world.b / name).read_bytes():
        return
    cases_lines.same_image(world, name)
    world.ours("check", name, folder=world.a)
    mine, wanted = (states(world.theirs("map", "--output=json", name, folder=side)) for side in (world.a, world.b))
    world.expect(mine == wanted, f"{name}: map differs\nsubject: {mine}\nQEMU: {wanted}")


def states(result):
    """[(length, state)] of map's runs, wherever they lie in the file."""
    found = []
    for run in json.loads(result.out):
        state = tuple(run[key] for key in ("depth", "present", "zero", "data", "compressed"))
        if found and found[-1][1] == state:
            found[-1] = (found[-1][0] + run["length"], state)
        else:
            found.append((run["length"], state))
    return found


def prepare(world):
    cases_lines.prepare(world)
    for side in (world.a, world.b):
        (side / "pattern.txt").write_bytes(images.text(1000, 5))


def line_case(group, line):
    if line.startswith("$"):
        arguments = shlex.split(line[1:])
    else:
        arguments = ["a.qcow2"]
        for command in line.split(";"):
            arguments += ["-c", command]

    def run(world):
        prepare(world)
        twin(world, arguments)
        same_disks(world)
    return Case(f"{group}: {line}", run)


# What comes through a pipe: a prompt before each line, and nothing is echoed.
PIPES = {
    "two commands": "length\nread 0 512\n",
    "no line end": "length",
    "quit in the middle": "length\nquit\nlength\n",
    "nothing": "",
    "empty lines": "\n\nlength\n",
    "unknown command": "foo\nlength\n",
    "a failure": "read 5M 12\nlength\n",
    "help of nothing": "help foo\n",
    "line end of another system": "length\r\n",
    "a zero byte": "length\0foo\n",
    "blanks": "   \nlength   \n  read  0   16  \n",
    "a tabulator": "read  -v\t0 16\n",
    "a comment": "# comment\nlength\n",
    "flush of requests": "aio_write 0 512\naio_flush\nlength\nquit\n",
    "requests go on meanwhile": "aio_write 0 512\nsleep 300\nlength\nquit\n",
    "close": "close\nlength\n",
    "writes and dumps": "write -P 0x41 0 512\nread -v 0 16\nread -v 505 16\n",
}
PIPES_WITHOUT_IMAGE = {
    "open fails": "open nofile\nlength\n",
    "open and close": "open a.qcow2\nlength\nclose\nlength\nopen a.qcow2\nlength\n",
    "end": "",
}


def pipe_case(name, text, arguments):
    def run(world):
        prepare(world)
        twin(world, arguments, send=text.encode())
        same_disks(world)
    return Case(f"pipe: {name}", run)


def a_reader_that_goes_away(world):
    """A pipe whose reader is gone: no crash, no hang."""
    prepare(world)
    process = world.subject_io.start(["a.qcow2", "-c", "read -v 0 1M", "-c", "write -P 5 0 64k"], world.a)
    process.stdout.close()
    process.stderr.read()
    world.expect(process.wait(60) in (0, 1), f"exit code {process.returncode}")
    world.ours("check", "a.qcow2", folder=world.a)


def cases():
    for path in sorted((HERE / "io_lines").glob("*.txt")):
        for line in path.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                yield line_case(path.stem, line)
    for name, text in PIPES.items():
        yield pipe_case(name, text, ["a.qcow2"])
    for name, text in PIPES_WITHOUT_IMAGE.items():
        yield pipe_case(f"without image, {name}", text, [])
    yield Case("a reader that goes away", a_reader_that_goes_away, byre_only=True)
