# SPDX-License-Identifier: Apache-2.0
"""bench under the name byre, where it has more to say; lines/bench.txt has what QEMU has too."""
import json

from case import Case
from cases_locks import held_by


def as_json(world):
    world.make("create", "-f", "qcow2", "image.qcow2", "1M")
    for options, operation, flushes in (([], "read", 0), (["-w", "--pattern=7", "--flush-interval=10"], "write", 10)):
        result = world.run_as_byre("bench", "--output=json", "-c", "100", "-d", "4", "-s", "1k", *options, "image.qcow2")
        found = json.loads(result.out)
        latency = [found["latency-us"][name] for name in ("50", "90", "99", "99.9", "max")]
        world.expect(latency == sorted(latency) and latency[0] > 0, f"latencies: {latency}")
        world.expect((found["operation"], found["requests"], found["bytes"], found["flushes"]) ==
                     (operation, 100, 102400, flushes), f"counts: {found}")
        rate = found["requests"] / found["seconds"]
        world.expect(abs(found["requests-per-second"] - rate) <= rate / 10, f"rate: {found}")
    world.write("image.qcow2", "read -P 7 0 100k", "read -P 0 100k 900k")


def locked(writes):
    """Reading shares an image that others write to only with -U; writing never."""
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "1M")
        options = ["-w"] if writes else []
        with held_by(world.qemu_io, world.folder, "image.qcow2"):
            world.compare_on_same_files("bench", "-c", "1", *options, "image.qcow2")
            world.compare_on_same_files("bench", "-c", "1", "-U", *options, "image.qcow2")
    return Case(f"used by QEMU: {'write' if writes else 'read'}", run)


def cases():
    yield Case("as JSON", as_json, byre_only=True)
    yield locked(False)
    yield locked(True)
