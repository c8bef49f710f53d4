# SPDX-License-Identifier: Apache-2.0
"""Which clusters zeroes and discards leave, as `qemu-img map` shows them, and what happens to them when a backing file
is added or grows; copy-on-read; entries at impossible offsets."""
import json

import qcow2_bytes as qcow2
from case import Case
from cases_io import compare, words

ZEROES = """write -z 0 64k; write -z 65k 30k; write -zu 128k 70k; discard 256k 64k; write -z 500k 40k; write -z 768k 64k
    write -z 900k 10k; discard 960k 64k"""
TARGETS = {
    "alone": [], "version 2": ["-o", "compat=0.10"], "extended": ["-o", "extended_l2=on"],
    "overlay": ["-b", "base.qcow2", "-F", "qcow2"],
    "version 2 overlay": ["-b", "base.qcow2", "-F", "qcow2", "-o", "compat=0.10"],
    "extended overlay": ["-b", "base.qcow2", "-F", "qcow2", "-o", "extended_l2=on"],
    "overlay of raw": ["-b", "base.raw", "-F", "raw"],
    "extended overlay of raw": ["-b", "base.raw", "-F", "raw", "-o", "extended_l2=on"],
    "small clusters": ["-b", "base.qcow2", "-F", "qcow2", "-o", "cluster_size=4k"],
}


def states(world, side, name):
    """(start, length, (depth, present, kind)) of every extent, with adjacent ones of the same state joined. Holes that
    the file has inside data are up to each program."""
    found = []
    for extent in json.loads(world.run_qemu("map", "--output=json", name, folder=side).out):
        kind = "data" if extent["data"] else "zero" if extent["zero"] else "unknown"
        state = (extent["depth"], extent["present"], kind)
        if found and found[-1][2] == state:
            found[-1] = (found[-1][0], found[-1][1] + extent["length"], state)
        else:
            found.append((extent["start"], extent["length"], state))
    return found


def same_states(world, name):
    mine, wanted = states(world, world.a, name), states(world, world.b, name)
    world.expect(mine == wanted, f"{name} has other clusters:\n{mine}\nQEMU:\n{wanted}")


def prepare(world, options):
    world.make("create", "-q", "-f", "qcow2", "base.qcow2", "512k")
    world.write("base.qcow2", "write -P 5 0 64k", "write -P 0 64k 64k", "write -z 128k 64k", "write -P 5 256k 2k",
                "write -P 6 320k 64k")
    world.make("convert", "-O", "raw", "base.qcow2", "base.raw")
    world.make("create", "-q", "-f", "qcow2", "full.qcow2", "1M")
    world.write("full.qcow2", "write -P 9 0 1M")
    world.make("create", "-q", "-f", "qcow2", *options, "disk.qcow2", "1M")
    world.copy_to_sides()


def both(world, *arguments):
    theirs = world.qemu_io.run(arguments, world.b)
    ours = world.subject_io.run(arguments, world.a)
    compare(world, arguments, ours, theirs)


def zeroes(target):
    def run(world):
        prepare(world, TARGETS[target])
        both(world, *words(ZEROES), "disk.qcow2")
        same_states(world, "disk.qcow2")
        # On top of another base, which has data everywhere.
        for side in (world.a, world.b):
            world.make("rebase", "-u", "-b", "full.qcow2", "-F", "qcow2", "disk.qcow2", folder=side)
        for side in (world.a, world.b):
            world.make("convert", "-O", "raw", "disk.qcow2", "disk.raw", folder=side)
        world.expect((world.a / "disk.raw").read_bytes() == (world.b / "disk.raw").read_bytes(),
                     "another base shows otherwise")
        world.make("check", "disk.qcow2", folder=world.a)
    return Case(f"zeroes: {target}", run)


def convert_onto(target):
    def run(world):
        prepare(world, TARGETS[target])
        world.compare_on_copies("convert", "-n", "-O", "qcow2", "base.raw", "disk.qcow2")
        same_states(world, "disk.qcow2")
        world.make("check", "disk.qcow2", folder=world.a)
    return Case(f"convert -n: {target}", run)


READS = {
    "all": "read 0 1M",
    "parts": "read 10k 4k; read 70k 1k; read 130k 1k; read 200k 1k; read 600k 1k; read 300k 1k; read 257k 30k",
    "beside a write": "write -P 3 80k 1k; read 60k 140k",
}


def copy_on_read(target, name):
    def run(world):
        prepare(world, TARGETS[target])
        both(world, "-C", *words(READS[name]), "disk.qcow2")
        same_states(world, "disk.qcow2")
        world.make("check", "disk.qcow2", folder=world.a)
    return Case(f"copy on read: {target}, {name}", run)


UNALIGNED = ("write -P 1 64k 64k", "write -P 1 68k 4k", "write -P 1 0 256k", "write -z 64k 4k", "write -zu 60k 8k",
             "write -zn 64k 4k", "write -zu 0 256k", "write -zu 64k 64k", "discard 0 256k", "discard 64k 64k",
             "read 64k 64k", "map", "alloc 64k 64k")


def unaligned(command, version):
    def run(world):
        world.make("create", "-q", "-f", "qcow2", "-o", f"compat={version}", "disk.qcow2", "1M")
        world.write("disk.qcow2", "write -P 7 0 256k")
        image = qcow2.Image(world.folder / "disk.qcow2")
        image.put(image.l2_entry(1), image.number(image.l2_entry(1)) | 0x200)
        image.save()
        world.copy_to_sides()
        both(world, *words(command), *words("write -P 9 512k 4k; read -P 0 64k 64k; read -P 7 192k 64k"), "disk.qcow2")
        mine, wanted = (json.loads(world.qemu.run(["check", "--output=json", "disk.qcow2"], side).out)
                        for side in (world.a, world.b))
        for found in ("leaks", "corruptions"):
            world.expect(mine.get(found) == wanted.get(found), f"other {found}: {mine}\nQEMU: {wanted}")
    return Case(f"unaligned entry, compat={version}: {command}", run)


def cases():
    for target in TARGETS:
        yield zeroes(target)
        yield convert_onto(target)
        for name in READS:
            yield copy_on_read(target, name)
    for command in UNALIGNED:
        yield unaligned(command, "1.1")
    for command in ("discard 0 256k", "write -z 64k 64k", "write -zu 0 256k"):
        yield unaligned(command, "0.10")
