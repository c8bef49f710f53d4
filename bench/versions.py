# SPDX-License-Identifier: Apache-2.0
"""Compares an earlier byre with this one: the jobs of the benchmark without QEMU, both alternately, round after round.
bench/run.py --before calls it."""
import dataclasses
import os
import statistics
import sys

import access
import page_cache

KEYS = ("wall", "cpu", "peak")


def run_commands(bench, jobs, before, rounds):
    """{job: {"before": [figures], "now": [figures]}}; levels of compression are separate jobs."""
    page_cache.read_afresh(before, bench.reference)
    results = {}
    for name, job in jobs.items():
        arguments, inputs = bench.fill_in(job.arguments)
        for path in set(inputs):
            page_cache.read_afresh(path, bench.reference)
        for flags in [[], *job.levels]:
            command = [arguments[0], *flags, *arguments[1:]]
            found = {"before": [], "now": []}
            for number in range(rounds):
                for version, program in access.in_turn({"before": before, "now": bench.byre}, number):
                    for _ in range(1 + job.warm_up):
                        figures = bench.measure(program, command, job.times, job.prepare)
                    found[version].append(figures)
            results[" ".join([name, *flags])] = found
            print(name, *flags, file=sys.stderr)
    bench.out.unlink(missing_ok=True)
    return results


def run_access(bench, jobs, before, rounds):
    """The same for single requests; figures are per request."""
    results = {}
    for name, job in jobs.items():
        found = {"before": [], "now": []}
        programs = {"before": [before], "now": [bench.device_bench]}
        bench.prepare(job)
        for program in programs.values():
            bench.measure(program, dataclasses.replace(job, count=min(job.count, 100)), job.image)
        for number in range(rounds):
            for version, program in access.in_turn(programs, number):
                found[version].append(bench.measure(program, job, job.image))
        results[name] = found
        print(name, file=sys.stderr)
    bench.clean()
    return results


def _shown(key, value):
    if key == "peak":
        return f"{value / (1 << 20):.1f} MiB"
    return f"{value * 1e6:.2f} us" if value < 1e-3 else f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


def table(results):
    """Markdown: medians, and the ratio before / now: above 1 means an improvement."""
    lines = ["| job | wall before | now | ratio | cpu before | now | ratio | peak before | now | ratio |",
             "| --- |" + " ---: |" * 9]
    for name, found in results.items():
        row = [name]
        for key in KEYS:
            if key not in found["now"][0]:
                row += [""] * 3
                continue
            before, now = (statistics.median(figure[key] for figure in found[version])
                           for version in ("before", "now"))
            row += [_shown(key, before), _shown(key, now), f"{before / now:.2f}" if now > 0 else "-"]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def programs_of(folder):
    """byre and device_bench of an earlier build."""
    found = [folder / name for name in ("byre", "device_bench")]
    for program in found:
        if not os.access(program, os.X_OK):
            sys.exit(f"{program} is not there; build it with scripts/build --target byre --target device_bench")
    return found
