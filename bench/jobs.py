# SPDX-License-Identifier: Apache-2.0
"""The jobs that bench/run.py measures: command lines of both programs, and what each run begins with."""
import dataclasses

from inputs import COMPRESS_ZSTD

# Direct I/O (-T none, -t none) takes several times as long for input that is in the page cache.
BEST_COPY = [["-m", "16", "-W"]]
NO_CACHE = [["-T", "none"]]
HEADER = ["{reference}", "header", "{qcow2}"]
# Jobs that take a millisecond are measured as this many calls in sequence.
CALLS = 100


@dataclasses.dataclass
class Job:
    """{raw} and the other names of inputs stand for their files, {out} for a new file, {base} for its backing file."""

    arguments: list
    best: list = dataclasses.field(default_factory=list)   # flag sets for QEMU's best
    levels: list = dataclasses.field(default_factory=list)  # flag sets for byre, a row each
    reference: list = None                                  # a command
    theirs: list = None                                     # QEMU's command, if it is another one
    times: int = 1                                          # runs in sequence, whose mean counts
    # Each measured run follows an unmeasured run of the same command. A job that takes a second and writes gigabytes
    # depends on whether the memory for them is at hand; so each finds what its own previous run has left.
    warm_up: bool = False
    # Commands that make {out} before each run, not measured.
    prepare: list = dataclasses.field(default_factory=list)


def copy_of(name):
    return ["cp", "--sparse=always", f"{{{name}}}", "{out}"]


def convert(source, *more, **kinds):
    raw = ["-f", "raw"] if source == "raw" else []
    return Job(["convert", *raw, *more, f"{{{source}}}", "{out}"], **kinds)


def overlay_of(name):
    return ["qemu-img", "create", "-q", "-f", "qcow2", "-b", f"{{{name}}}", "-F", "qcow2", "{out}"]


def fresh(name):
    return ["cp", "--reflink=auto", "--sparse=always", f"{{{name}}}", "{out}"]


def snapshot_job(option, snapshot, name):
    return Job(["snapshot", option, snapshot, "{out}"], prepare=[fresh(name)])


def commit_job(name):
    base = ["qemu-img", "create", "-q", "-f", "qcow2", "{base}", "4G"]
    return Job(["commit", "-q", "{out}"], prepare=[base, fresh(name)], reference=durable_copy_of(name), warm_up=True)


def durable_copy_of(name):
    """What the disk takes for the data alone."""
    return ["dd", "bs=1M", "conv=fdatasync", "status=none", f"if={{{name}}}", "of={out}"]


JOBS = {
    "info": Job(["info", "{qcow2}"], reference=HEADER, times=CALLS),
    "create": Job(["create", "-q", "-f", "qcow2", "{out}", "4G"], reference=HEADER, times=CALLS),
    "map": Job(["map", "--output=json", "{qcow2}"], reference=HEADER, times=CALLS),
    "check": Job(["check", "{qcow2}"], NO_CACHE, reference=HEADER, times=CALLS),
    "compare": Job(["compare", "{raw}", "{qcow2}"], NO_CACHE,
                   reference=["{reference}", "compare", "{raw}", "{raw_copy}"]),
    "convert raw to qcow2": convert("raw", "-O", "qcow2", best=BEST_COPY, reference=copy_of("raw"), warm_up=True),
    "convert qcow2 to raw": convert("qcow2", "-O", "raw", best=BEST_COPY, reference=copy_of("raw"), warm_up=True),
    "convert qcow2 to qcow2": convert("qcow2", "-O", "qcow2", best=BEST_COPY, reference=copy_of("qcow2"), warm_up=True),
    "convert to deflate": convert("raw", "-O", "qcow2", "-c", best=[["-m", "16"]],
                                  levels=[["--compress-level", "1"], ["--compress-level", "7"]]),
    "convert to zstd": convert("raw", "-O", "qcow2", *COMPRESS_ZSTD, best=[["-m", "16"]],
                               levels=[["--compress-level", "1"]]),
    "convert from deflate": convert("deflate", "-O", "raw", best=BEST_COPY),
    "convert from zstd": convert("zstd", "-O", "raw", best=BEST_COPY),
    "rebase to no backing file": Job(["rebase", "-b", "", "{out}"], prepare=[overlay_of("gibibyte")],
                                     reference=durable_copy_of("gibibyte"), warm_up=True),
    "rebase to another chain": Job(["rebase", "-b", "{shifted}", "-F", "qcow2", "{out}"],
                                   prepare=[overlay_of("gibibyte")], reference=durable_copy_of("gibibyte"),
                                   warm_up=True),
    "rebase to a sibling": Job(["rebase", "-b", "{sibling}", "-F", "qcow2", "{out}"], prepare=[overlay_of("gibibyte")]),
    "commit 1 GiB in runs of 64 KiB": commit_job("runs_64k"),
    "commit 1 GiB in runs of 1 MiB": commit_job("runs_1m"),
    # QEMU copies one state at a time, and shares nothing between them.
    "copy with 8 snapshots": Job(["convert", "--snapshots", "-O", "qcow2", "{history}", "{out}"],
                                 theirs=["sh", "-ec", "for id in 1 2 3 4 5 6 7 8; do qemu-img convert -O qcow2 -l "
                                         "snapshot.id=$id {history} {out}; done"], warm_up=True),
    "create 1 TiB with metadata": Job(["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "{out}", "1T"]),
    "check 1 TiB": Job(["check", "{mapped}"], NO_CACHE, reference=["{reference}", "read", "{mapped}"]),
    "check 64 snapshots": Job(["check", "{snapshots}"], NO_CACHE, reference=["{reference}", "read", "{snapshots}"]),
    "map 1 TiB": Job(["map", "--output=json", "{mapped}"], reference=["{reference}", "read", "{mapped}"]),
    "amend 1 TiB to 64 bits": Job(["amend", "-o", "refcount_bits=64", "{out}"], prepare=[fresh("mapped")]),
    # Again and again: a single one takes milliseconds.
    "resize 1 TiB": Job(["resize", "-q", "{out}", "+1G"], prepare=[fresh("mapped")], times=10),
    # Each with the L2 tables of 200 GiB.
    "snapshot -c": snapshot_job("-c", "new", "disk"),
    "snapshot -a": snapshot_job("-a", "last", "snapshot"),
    "snapshot -d": snapshot_job("-d", "last", "snapshot"),
    "snapshot -c, 64 there": snapshot_job("-c", "new", "snapshots"),
    "snapshot -a, 64 there": snapshot_job("-a", "last", "snapshots"),
    "snapshot -d, 64 there": snapshot_job("-d", "last", "snapshots"),
    "measure 1 TiB": Job(["measure", "-O", "qcow2", "{mapped}"], reference=["{reference}", "read", "{mapped}"]),
}
