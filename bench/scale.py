# SPDX-License-Identifier: Apache-2.0
"""How time and memory of byre and QEMU grow with the size of a disk: images with every cluster mapped, all of them
holes of their files, so that the tables are real and the data takes no space; and overlays of any size that have, or
whose backing files have, 64 MiB. bench/run.py --scale calls it.
"""
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys

import access
import curves
import inputs

GIB = 1 << 30
SIZES = [GIB, 16 * GIB, 256 * GIB, 4096 * GIB]
REQUESTS = 20000
# An odd number of blocks: each request is far from the previous one, and no two are the same. qemu-img bench accepts no
# larger steps.
STEP_FACTOR = 0.38196601
STEP_MAX = 1600 << 20

COMMANDS = {
    "open": ["info"],
    "check": ["check"],
    "map": ["map", "--output=json"],
    "measure": ["measure", "-O", "qcow2"],
}
REQUEST_JOBS = {"random read": [], "random write": ["-w"]}
# Each run has a new copy of the image, which is not measured: how it is made, and the command.
CHANGES = {
    "snapshot -c": ("mapped", ["snapshot", "-c", "new"]),
    "snapshot -a": ("with a snapshot", ["snapshot", "-a", "last"]),
    "snapshot -d": ("with a snapshot", ["snapshot", "-d", "last"]),
    "amend to 64 bits": ("mapped", ["amend", "-o", "refcount_bits=64"]),
    "resize": ("mapped", ["resize", "-q"]),
    "rebase of 64 MiB": ("empty overlay", ["rebase", "-b", ""]),
    "commit of 64 MiB": ("overlay", ["commit", "-q"]),
}


def all_jobs():
    return [*COMMANDS, *REQUEST_JOBS, *CHANGES]


def step(size):
    return (min(int(size * STEP_FACTOR), STEP_MAX) // 4096 | 1) * 4096


def run_command(runner, program, arguments):
    run = runner.run([program, *arguments])
    return {"time": run.wall, "memory": run.peak}


def run_requests(runner, program, flags, size, path):
    run = runner.run([*program, "-f", "qcow2", "-d", "1", "-c", REQUESTS, "-s", "4096", "-S", step(size), *flags, path])
    return {"time": access.seconds_told(run.output) / REQUESTS, "memory": run.peak}


def write_in_64_places(path, size, length):
    writes = "".join(f"write -q -P 7 {number * (size // 64)} {length}\n" for number in range(64))
    subprocess.run(["qemu-io", path], check=True, input=writes.encode(), stdout=subprocess.DEVNULL)


def create(path, size, *options):
    path.unlink(missing_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, str(size)], check=True)


class Images:
    """The images that change, of one size; each kind is made when it is first asked for."""

    def __init__(self, folder, size):
        self._size = size
        self._folder = folder
        self._made = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for path in self._made.values():
            path.unlink(missing_ok=True)
            self._base_of(path).unlink(missing_ok=True)

    @staticmethod
    def _base_of(path):
        return path.with_suffix(".base")

    def copy(self, kind, path):
        """A new copy, durable; an overlay gets a new backing file as well if it is to be changed."""
        if kind not in self._made:
            self._make(kind)
        if kind == "overlay":
            create(self._base_of(self._made[kind]), self._size)
        subprocess.run(["cp", "--reflink=auto", "--sparse=always", self._made[kind], path], check=True)
        os.sync()

    def _make(self, kind):
        path = self._folder / f"scale-{kind.replace(' ', '-')}.qcow2"
        path.unlink(missing_ok=True)
        base = self._base_of(path)
        if kind in ("mapped", "with a snapshot"):
            inputs.make_mapped(path, self._size)
        else:
            create(base, self._size)
            create(path, self._size, "-b", base, "-F", "qcow2")
        if kind == "with a snapshot":
            subprocess.run(["qemu-img", "snapshot", "-c", "last", path], check=True)
            write_in_64_places(path, self._size, 64 << 10)
        if kind == "overlay":
            write_in_64_places(path, self._size, 1 << 20)
        if kind == "empty overlay":
            write_in_64_places(base, self._size, 1 << 20)
        self._made[kind] = path


def change(runner, images, job, size, path, program):
    kind, command = CHANGES[job]
    images.copy(kind, path)
    size_argument = [2 * size] if job == "resize" else []
    figure = run_command(runner, program, [*command, path, *size_argument])
    path.unlink()
    return figure


def ask(runner, job, path, program):
    return run_command(runner, program, [*COMMANDS[job], path])


def request(runner, device_bench, job, size, path, program):
    bench = ["qemu-img", "bench"] if program == "qemu-img" else [device_bench]
    return run_requests(runner, bench, REQUEST_JOBS[job], size, path)


def medians(figures):
    return {key: statistics.median(figure[key] for figure in figures) for key in figures[0]}


def measure(folder, byre, device_bench, runner, rounds, jobs):
    """{job: {program: {size: {"time": seconds, "memory": bytes}}}}; requests: seconds per request."""
    found = {job: {"byre": {}, "QEMU": {}} for job in jobs}
    path = folder / "scale.qcow2"
    for size in SIZES:
        with Images(folder, size) as images:
            for job in found:
                if job in REQUEST_JOBS or job in COMMANDS:
                    inputs.make_mapped(path, size)  # small requests leave blocks in the file: each job has a new one
                if job in CHANGES:
                    run = functools.partial(change, runner, images, job, size, path)
                elif job in COMMANDS:
                    run = functools.partial(ask, runner, job, path)
                else:
                    run = functools.partial(request, runner, device_bench, job, size, path)
                figures = {"byre": [], "QEMU": []}
                for _ in range(rounds):
                    for who, program in (("byre", byre), ("QEMU", "qemu-img")):
                        figures[who].append(run(program))
                path.unlink(missing_ok=True)
                for who, all_of_them in figures.items():
                    found[job][who][size] = medians(all_of_them)
                print(f"{job}, {size // GIB} GiB", file=sys.stderr)
    return found


def table(found):
    lines = ["| job | who | " + " | ".join(f"{size // GIB} GiB" for size in SIZES) + " |",
             "| --- | --- |" + " ---: |" * len(SIZES)]
    for job, whos in found.items():
        for who, figures in whos.items():
            cells = [f"{curves.time_text(figures[size]['time'])}, {curves.bytes_text(figures[size]['memory'])}"
                     for size in SIZES]
            lines.append(f"| {job} | {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(folder, byre, device_bench, runner, rounds, jobs, report, machine):
    folder.mkdir(parents=True, exist_ok=True)
    found = measure(folder, byre, device_bench, runner, rounds, jobs)
    report.write_text(json.dumps({"machine": machine, "rounds": rounds, "results": found}, indent=1) + "\n")
    for kind, text in (("time", curves.time_text), ("memory", curves.bytes_text)):
        picture = pathlib.Path(folder / f"scale-{kind}.svg")
        picture.write_text(curves.picture(kind, found, text))
    print(f"{machine}; medians of {rounds} rounds; a random request's time is that of one\n")
    print(table(found))
    print(f"\npictures: {folder}/scale-time.svg, {folder}/scale-memory.svg")
