# SPDX-License-Identifier: Apache-2.0
"""byre creates: QEMU finds the image clean and the same as its own, and byre reads QEMU's in the same way."""
import json

import images
from case import Case
from images import GIB, KIB, MIB


def allocated(path):
    return path.stat().st_blocks * 512


def create_and_judge(world, arguments, name="image.qcow2"):
    """Both create; QEMU compares the subject's image with its own, the subject reads both."""
    world.compare_on_copies("create", "-f", "qcow2", *arguments)
    judge(world, name)


def judge(world, name):
    for folder in (world.a, world.b):
        world.run_qemu("check", name, folder=folder)
        world.compare_on_same_files("check", "--output=json", name, folder=folder)
        world.compare_on_same_files("info", name, folder=folder)
        world.compare_on_same_files("info", "--output=json", name, folder=folder)
        world.compare_on_same_files("map", "--output=json", name, folder=folder)
    mine, wanted = world.info(name, world.a), world.info(name, world.b)
    world.expect(mine == wanted, f"info differs\nsubject: {mine}\nQEMU: {wanted}")
    maps = [without_places(json.loads(world.run_qemu("map", "--output=json", name, folder=folder).out))
            for folder in (world.a, world.b)]
    world.expect(maps[0] == maps[1], f"map differs\nsubject: {maps[0]}\nQEMU: {maps[1]}")


def without_places(extents):
    """A map without host offsets, with adjacent extents of the same state joined. Whether allocated clusters are holes
    of the file depends on the file, not on the image."""
    joined = []
    for extent in extents:
        hidden = ("offset", "zero") if extent["data"] else ("offset",)
        extent = {key: value for key, value in extent.items() if key not in hidden}
        state = {key: value for key, value in extent.items() if key not in ("start", "length")}
        if joined and joined[-1][1] == state:
            joined[-1][0]["length"] += extent["length"]
        else:
            joined.append(({"start": extent["start"], "length": extent["length"]}, state))
    return joined


def of_layout(chosen, size):
    def run(world):
        create_and_judge(world, [*chosen.arguments(), "image.qcow2", str(size)])
        mine, wanted = world.a / "image.qcow2", world.b / "image.qcow2"
        slack = 4 * chosen.cluster_size + 64 * KIB
        world.expect(mine.stat().st_size <= wanted.stat().st_size + slack,
                     f"{mine.stat().st_size} bytes long; QEMU's is {wanted.stat().st_size}")
        if chosen.get("preallocation", "off") in ("falloc", "full"):
            # QEMU leaves a data file empty here; byre preallocates as requested.
            entry = "image.data" if chosen.has_data_file else "image.qcow2"
            got, need = allocated(world.a / entry), allocated(world.b / entry)
            world.expect(need - slack <= got <= max(need, size) + slack,
                         f"{entry} takes {got} bytes; QEMU's {need}")
    return Case(f"{chosen} size={size}", run)


def of_arguments(name, *arguments, prepare=None):
    """A create that succeeds with these arguments; `prepare` creates what exists before."""
    def run(world):
        if prepare:
            prepare(world)
        world.copy_to_sides()
        create_and_judge(world, arguments)
    return Case(name, run)


def backing(kind, size):
    """Creates the files that an overlay needs."""
    def prepare(world):
        world.make("create", "-f", kind, "base", str(size))
        world.write("base", "write -P 5 0 64k", options=["-f", kind])
    return prepare


def backing_cases():
    for kind in ("raw", "qcow2"):
        for base, own in ((MIB, None), (MIB, 4 * MIB), (4 * MIB, MIB), (MIB + 512, None), (512 * 129, 0)):
            arguments = ["-b", "base", "-F", kind, "image.qcow2"] + ([str(own)] if own is not None else [])
            yield of_arguments(f"over {kind} of {base}, size {own}", *arguments,
                               prepare=backing(kind, max(base, 64 * KIB)))
        yield of_arguments(f"over {kind} as options", "-o", f"backing_file=base,backing_fmt={kind}",
                           "image.qcow2", prepare=backing(kind, MIB))
        yield of_arguments(f"over {kind}, version 2", "-o", "compat=0.10", "-b", "base", "-F", kind,
                           "image.qcow2", prepare=backing(kind, MIB))
        yield of_arguments(f"over {kind} with extended L2", "-o", "extended_l2=on", "-b", "base", "-F",
                           kind, "image.qcow2", prepare=backing(kind, MIB))
        yield of_arguments(f"over {kind} with preallocation", "-o", "preallocation=metadata,extended_l2=on",
                           "-b", "base", "-F", kind, "image.qcow2", prepare=backing(kind, MIB))
    yield of_arguments("over file:base", "-b", "file:base", "-F", "raw", "image.qcow2",
                       prepare=backing("raw", MIB))
    yield of_arguments("over a chain", "-b", "base2", "-F", "qcow2", "image.qcow2", prepare=chain)


def chain(world):
    backing("raw", MIB)(world)
    world.make("create", "-f", "qcow2", "-b", "base", "-F", "raw", "base2")
    world.write("base2", "write -P 9 128k 64k")


SIZES = ["0", "1", "511", "512", "513", "1000", "65535", "65536", "65537", "1k", "1K", "1M", "1.5M", "3G",
         "1T", "2T", "0x10000", "1b", "123456789"]


def size_cases():
    for size in SIZES:
        yield of_arguments(f"size {size}", "image.qcow2", size)
        yield raw_case(size)
    for size in ("2T", "16T", "64T", "1P"):
        yield of_arguments(f"size {size} with clusters of 2 MiB", "-o", "cluster_size=2M", "image.qcow2", size)
    yield of_arguments("size as an option", "-o", "size=5M", "image.qcow2")
    yield of_arguments("options in several -o", "-o", "size=5M", "-o", "cluster_size=4k", "image.qcow2")
    yield of_arguments("the later of two options", "-o", "cluster_size=512,cluster_size=4k",
                       "image.qcow2", "1M")
    yield of_arguments("quiet", "-q", "image.qcow2", "1M")
    yield of_arguments("over an old file", "image.qcow2", "1M",
                       prepare=lambda world: (world.folder / "image.qcow2").write_bytes(b"x" * 1000000))


def raw_case(size):
    def run(world):
        world.compare_on_copies("create", "-f", "raw", "image.raw", size)
        mine, wanted = world.a / "image.raw", world.b / "image.raw"
        world.expect(mine.exists() == wanted.exists(), "only one of them made a file")
        if wanted.exists():
            world.expect(mine.stat().st_size == wanted.stat().st_size, "sizes differ")
            world.compare_on_same_files("info", "-f", "raw", "image.raw", folder=world.a)
    return Case(f"raw size {size}", run)


def raw_preallocation(mode):
    def run(world):
        world.compare_on_copies("create", "-f", "raw", "-o", f"preallocation={mode}", "image.raw", "3M")
        if (world.b / "image.raw").exists():
            got, need = (allocated(side / "image.raw") for side in (world.a, world.b))
            world.expect(abs(got - need) <= 64 * KIB, f"takes {got} bytes; QEMU's {need}")
    return Case(f"raw preallocation={mode}", run)


def cases():
    for chosen in images.all_layouts():
        small = chosen.get("preallocation") or chosen.get("data_file_raw")
        yield of_layout(chosen, 33 * MIB + 512 if small else 300 * MIB + 1024)
    for chosen in images.cluster_layouts()[::2]:
        yield of_layout(images.layout(cluster_size=chosen.cluster_size, refcount_bits=64), 2 * GIB + 512)
    yield from backing_cases()
    yield from size_cases()
    for mode in ("off", "falloc", "full", "metadata", "sparse"):
        yield raw_preallocation(mode)
