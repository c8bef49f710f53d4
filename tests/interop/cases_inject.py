# SPDX-License-Identifier: Apache-2.0
"""Requests that fail at each of blkdebug's events while byre writes: whatever failed, the resulting image has no
corruption according to either checker."""
import json

from case import Case

EVENTS = ("l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update",
          "read_aio", "write_aio", "reftable_load", "refblock_load", "refblock_update_part", "refblock_alloc",
          "refblock_alloc_hookup", "cluster_alloc", "cluster_free", "flush_to_os", "flush_to_disk", "pwritev",
          "pwritev_done", "l2_alloc_write", "l2_update_compressed", "refblock_alloc_write", "cluster_alloc_bytes",
          "vmstate_save", "vmstate_load", "l1_shrink_write_table", "l1_shrink_free_l2_clusters")
ERRORS = {"EIO": 5, "ENOSPC": 28}
# Allocation, overwriting, refcount blocks (clusters of 512 bytes), zeroes, discards, a larger L1 table, VM state,
# compression, a smaller disk.
COMMANDS = ("write -P 2 1k 100", "write -P 3 100k 300k", "flush", "discard 0 4k", "write -z 8k 8k", "read 0 64k",
            "flush", "truncate 64M", "write -P 5 32M 1M", "flush", "write -b -P 6 0 4k", "read -b 0 4k",
            "write -c -P 7 20M 512", "write -c -P 8 21M 512", "flush", "truncate 16M", "flush")
LEAKS = 3


def inject_case(event, error, once):
    def run(world):
        world.make("create", "-f", "qcow2", "-o", "cluster_size=512", "i.qcow2", "1M")
        world.write("i.qcow2", "write -P 1 0 64k")
        (world.folder / "rules").write_text(
            f'[inject-error]\nevent = "{event}"\nerrno = "{ERRORS[error]}"\nonce = "{once}"\n')
        arguments = ["-f", "qcow2"]
        for command in COMMANDS:
            arguments += ["-c", command]
        result = world.subject_io.run([*arguments, "blkdebug:rules:i.qcow2"], world.folder)
        world.expect(result.code in (0, 1), result.text())
        # A rule that counts once may hit a request that is retried, or one whose failure only leaks.
        told = any(word in result.text() for word in ("Input/output error", "No space left on device"))
        world.expect(once == "on" or told, f"nothing failed\n{result.text()}")
        for program in (world.qemu, world.subject):
            check = program.run(["check", "i.qcow2"], world.folder)
            world.expect(check.code in (0, LEAKS), check.text())
    return Case(f"{event} {error} once={once}", run, byre_only=True)


SALVAGED = {
    "no L2 table": ("qcow2", [{"event": "l2_load"}]),
    "no state of one sector": ("raw", [{"event": "none", "iotype": "block-status", "sector": 100}]),
    "no state, and a bad sector": ("raw", [{"event": "none", "iotype": "block-status", "sector": 100},
                                           {"event": "none", "iotype": "read", "sector": 103}]),
    "no states": ("raw", [{"event": "none", "iotype": "block-status"}]),
}


def salvage(name, arguments):
    """The same warnings as QEMU's, in any order, and the same disk."""
    def run(world):
        driver, rules = SALVAGED[name]
        world.make("create", "-f", driver, "image", "256k")
        world.write("image", "write -P 1 0 256k", options=("-f", driver))
        source = "json:" + json.dumps({"driver": driver, "file": {
            "driver": "blkdebug", "image": {"driver": "file", "filename": "../image"},
            "inject-error": [{"errno": 5, "once": False, **rule} for rule in rules]}})
        command = ["convert", "--salvage", *arguments, source, "out"]
        ours, theirs = world.subject.run(command, world.a), world.qemu.run(command, world.b)
        world.expect(ours.code == theirs.code == 0, ours.text() + theirs.text())
        world.expect(sorted(ours.err.splitlines()) == sorted(theirs.err.splitlines()), ours.text() + theirs.text())
        world.run_qemu("compare", "a/out", "b/out")
    return Case(f"salvage: {name}, {' '.join(arguments)}", run)


def not_flushed(event, lines):
    """What cannot be written at close is reported, with a line for each cache."""
    def run(world):
        world.make("create", "-f", "qcow2", "i.qcow2", "1M")
        (world.folder / "rules").write_text(f'[inject-error]\nevent = "{event}"\nerrno = "5"\nonce = "off"\n')
        arguments = ["-f", "qcow2", "-c", "write 0 64k", "blkdebug:rules:i.qcow2"]
        told = [f"qemu-io: Failed to flush the {what} cache: Input/output error".encode() for what in lines]
        ours = world.subject_io.run(arguments, world.folder)
        world.expect(ours.code == 1, ours.text())
        world.expect([line for line in ours.err.splitlines() if b"flush" in line] == told, ours.text())
    return Case(f"caches that are not flushed at close: {event}", run, byre_only=True)


def cases():
    for name in SALVAGED:
        for arguments in (["-O", "raw"], ["-O", "qcow2"], ["-c", "-O", "qcow2"], ["-q", "-O", "raw"]):
            yield salvage(name, arguments)
    yield not_flushed("l2_update", ["L2 table"])
    yield not_flushed("refblock_update_part", ["L2 table", "refcount block"])
    for event in EVENTS:
        for error in ERRORS:
            for once in ("on", "off"):
                yield inject_case(event, error, once)
