# SPDX-License-Identifier: Apache-2.0
"""Requests that fail at each of blkdebug's events while byre writes: whatever failed, the image that is left has
no corruption for either checker."""
from case import Case

EVENTS = ("l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update",
          "read_aio", "write_aio", "reftable_load", "refblock_load", "refblock_update_part", "refblock_alloc",
          "refblock_alloc_hookup", "cluster_alloc", "cluster_free", "flush_to_os", "flush_to_disk", "pwritev",
          "pwritev_done", "l2_alloc_write", "l2_update_compressed", "refblock_alloc_write", "cluster_alloc_bytes",
          "vmstate_save", "vmstate_load", "l1_shrink_write_table", "l1_shrink_free_l2_clusters")
ERRORS = {"EIO": 5, "ENOSPC": 28}
# Allocation, overwriting, refcount blocks (clusters of 512 bytes), zeroes, discards, a larger L1 table, machine state,
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
        # A rule that counts once may meet a request that is done again, or one whose failure only leaks.
        told = any(word in result.text() for word in ("Input/output error", "No space left on device"))
        world.expect(once == "on" or told, f"nothing failed\n{result.text()}")
        for program in (world.qemu, world.subject):
            check = program.run(["check", "i.qcow2"], world.folder)
            world.expect(check.code in (0, LEAKS), check.text())
    return Case(f"{event} {error} once={once}", run, byre_only=True)


def cases():
    for event in EVENTS:
        for error in ERRORS:
            for once in ("on", "off"):
                yield inject_case(event, error, once)
