# SPDX-License-Identifier: Apache-2.0
"""How time and memory of byre and QEMU grow with the size of a disk: images with every cluster mapped, all of them
holes of their files, so that the tables are real and the data takes no space. bench/run.py --scale calls it.
"""
import json
import pathlib
import statistics
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


def step(size):
    return (min(int(size * STEP_FACTOR), STEP_MAX) // 4096 | 1) * 4096


def run_command(runner, program, arguments):
    run = runner.run([program, *arguments])
    return {"time": run.wall, "memory": run.peak}


def run_requests(runner, program, flags, size, path):
    run = runner.run([*program, "-f", "qcow2", "-d", "1", "-c", REQUESTS, "-s", "4096", "-S", step(size), *flags, path])
    return {"time": access.seconds_told(run.output) / REQUESTS, "memory": run.peak}


def medians(figures):
    return {key: statistics.median(figure[key] for figure in figures) for key in figures[0]}


def measure(folder, byre, device_bench, runner, rounds):
    """{job: {program: {size: {"time": seconds, "memory": bytes}}}}; requests: seconds per request."""
    found = {job: {"byre": {}, "QEMU": {}} for job in [*COMMANDS, *REQUEST_JOBS]}
    path = folder / "scale.qcow2"
    for size in SIZES:
        for job in found:
            if job == "open" or job in REQUEST_JOBS:
                path.unlink(missing_ok=True)
                inputs.make_mapped(path, size)  # small requests leave blocks in the file: each job has a new one
            figures = {"byre": [], "QEMU": []}
            for _ in range(rounds):
                for who, program in (("byre", byre), ("QEMU", "qemu-img")):
                    if job in COMMANDS:
                        figure = run_command(runner, program, [*COMMANDS[job], path])
                    else:
                        bench = [device_bench] if who == "byre" else ["qemu-img", "bench"]
                        figure = run_requests(runner, bench, REQUEST_JOBS[job], size, path)
                    figures[who].append(figure)
            for who, all_of_them in figures.items():
                found[job][who][size] = medians(all_of_them)
            print(f"{job}, {size // GIB} GiB", file=sys.stderr)
    path.unlink(missing_ok=True)
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


def run(folder, byre, device_bench, runner, rounds, report, machine):
    folder.mkdir(parents=True, exist_ok=True)
    found = measure(folder, byre, device_bench, runner, rounds)
    report.write_text(json.dumps({"machine": machine, "rounds": rounds, "results": found}, indent=1) + "\n")
    for kind, text in (("time", curves.time_text), ("memory", curves.bytes_text)):
        picture = pathlib.Path(folder / f"scale-{kind}.svg")
        picture.write_text(curves.picture(kind, found, text))
    print(f"{machine}; medians of {rounds} rounds; a random request's time is that of one\n")
    print(table(found))
    print(f"\npictures: {folder}/scale-time.svg, {folder}/scale-memory.svg")
