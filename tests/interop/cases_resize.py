# SPDX-License-Identifier: Apache-2.0
"""Disks that get another size, by either program, one after the other: the same output, the same disk, sound images.

Refusals and options are in lines/resize.txt, devices in device_lines/resize.txt."""
import os
import re

import images
from case import Case, digest
from cases_locks import held_by
from images import KIB, MIB, layout

# Sizes are in clusters (c), or in what one L2 table maps (t).
STEPS = {
    "larger and smaller": ["+5c", "40c", "--shrink 20c", "30c"],
    "preallocated": ["--shrink 17c", "--shrink -1c", "--preallocation=metadata 33c", "--preallocation=falloc +3c",
                     "--preallocation=full +2c", "+1c"],
    "tables": ["3t", "+2t", "--shrink 20c", "--preallocation=metadata 30c", "2t"],
    "sectors": ["+512", "+1536", "--shrink -512", "--preallocation=metadata +1024"],
    "to a sector": ["--shrink 1024", "--shrink -512", "512"],
}
LAYOUTS = [
    *(layout(cluster_size=size, compat=version) for size in (512, 4 * KIB, 64 * KIB, 2 * MIB)
      for version in ("0.10", "1.1")),
    *(layout(refcount_bits=bits, cluster_size=size) for bits in (1, 8, 64) for size in (512, 64 * KIB)),
    layout(extended_l2="on", cluster_size=16 * KIB), layout(extended_l2="on"),
    layout(compression_type="zstd"), layout(lazy_refcounts="on"), layout(preallocation="metadata"),
    *(layout(data_file="image.data", cluster_size=size) for size in (512, 64 * KIB)),
    layout(data_file="image.data", data_file_raw="on"), layout(data_file="image.data", extended_l2="on"),
]


def table_size(chosen):
    entry = 16 if chosen.get("extended_l2") == "on" else 8
    return chosen.cluster_size // entry * chosen.cluster_size


def arguments(step, chosen):
    units = {"c": chosen.cluster_size, "t": table_size(chosen)}
    return [re.sub(r"(\d+)([ct])$", lambda match: str(int(match[1]) * units[match[2]]), word) for word in step.split()]


def fill(world, name, chosen):
    """Data, zeroes and a compressed cluster, some of them past the end that the steps cut to."""
    cluster = chosen.cluster_size
    has_zeroes = chosen.get("compat") != "0.10"
    commands = [f"write -P 1 0 {3 * cluster}", f"write -P 2 {18 * cluster + cluster // 2} {cluster}",
                f"write -P 3 {25 * cluster} {cluster}"]
    if has_zeroes:
        commands.append(f"write -z {16 * cluster} {cluster}")
        commands.append(f"write -z {21 * cluster} {cluster}")
    if not chosen.has_data_file and chosen.get("preallocation") is None:
        commands.append(f"write -c -P 4 {19 * cluster + cluster} {cluster}")
        commands.append(f"write -c -P 5 {10 * cluster} {cluster}")
    world.write(name, *commands)


def same_result(world, name="image.qcow2"):
    """Both sides have the same disk, and images that both checkers find sound."""
    for side in (world.a, world.b):
        world.run_qemu("check", name, folder=side)
        world.run_subject("check", name, folder=side)
    mine, wanted = world.info(name, world.a), world.info(name, world.b)
    world.expect(mine == wanted, f"info differs: {mine}\nQEMU: {wanted}")
    if "data-file" not in str(wanted):
        world.run_qemu("compare", f"a/{name}", f"b/{name}")
        return
    for side in (world.a, world.b):  # the name of a data file counts from there
        world.make("convert", "-O", "raw", name, "disk.raw", folder=side)
    world.run_qemu("compare", "-f", "raw", "-F", "raw", "a/disk.raw", "b/disk.raw")


def swapped(world, *resize):
    """Each program goes on with what the other one left."""
    theirs = world.qemu.run(["resize", *resize], world.a)
    ours = world.subject.run(["resize", *resize], world.b)
    world.equal(["resize", *resize], ours, theirs)


def sequence(chosen, title, snapshots=False):
    def run(world):
        cluster = chosen.cluster_size
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", str(26 * cluster + 512))
        fill(world, "image.qcow2", chosen)
        if snapshots:
            world.make("snapshot", "-c", "first", "image.qcow2")
            world.write("image.qcow2", f"write -P 6 {cluster} {cluster}", f"write -P 7 {18 * cluster} {2 * cluster}")
            world.make("snapshot", "-c", "second", "image.qcow2")
        world.copy_to_sides()
        for step in STEPS[title]:
            *options, size = arguments(step, chosen)
            world.compare_on_copies("resize", *options, "image.qcow2", size)
        same_result(world)
        if title == "to a sector":  # what was cut off inside a cluster reappears in QEMU when it grows
            return
        for step in ("+3c", "--preallocation=metadata +1c", "--shrink 15c", "18c"):
            *options, size = arguments(step, chosen)
            swapped(world, *options, "image.qcow2", size)
        same_result(world)
        if snapshots:
            same_snapshots(world)
    return Case(f"{title}: {'snapshots in ' if snapshots else ''}{chosen}", run)


def same_snapshots(world):
    for name in ("first", "second"):
        found = []
        for side in (world.a, world.b):
            world.make("convert", "-l", name, "-O", "raw", "image.qcow2", f"{name}.raw", folder=side)
            found.append(digest(side / f"{name}.raw"))
        world.expect(found[0] == found[1], f"the snapshot {name} differs")


def chain(chosen, base_format, base_size, steps):
    """An overlay of 1 MiB over a shorter, an equal or a longer image."""
    def run(world):
        world.make("create", "-f", base_format, "base", str(base_size))
        world.write("base", f"write -P 9 0 {base_size}", options=["-f", base_format])
        world.make("create", "-f", "qcow2", *chosen.arguments(), "-b", "base", "-F", base_format, "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 1 100k 200k", "write -P 2 1000k 24k")
        world.copy_to_sides()
        for step in steps:
            *options, size = step.split()
            world.compare_on_copies("resize", *options, "image.qcow2", size)
        same_result(world)
        swapped(world, "image.qcow2", "+256k")
        same_result(world)
    return Case(f"over {base_format} of {base_size}: {', '.join(steps)}: {chosen}", run)


def limited(chosen, step, limit):
    """A host that has no room for the larger disk: both refuse, the image has its old size and is sound."""
    def run(world):
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 1 0 256k")
        world.copy_to_sides()
        *options, size = step.split()
        command = ["resize", *options, "image.qcow2", size]
        if chosen.cluster_size == 512:  # where it fails differs: the refcounts need room as well
            theirs, ours = (program.run(command, side, file_size=limit)
                            for program, side in ((world.qemu, world.b), (world.subject, world.a)))
            world.expect(ours.code == theirs.code == 1, f"{ours.text()}\n{theirs.text()}")
        else:
            world.expect(world.compare_on_copies(*command, file_size=limit).code == 1, "there was room")
        if world.subject_is_byre:
            world.run_qemu("check", "image.qcow2", folder=world.a)
        world.run_qemu("compare", "a/image.qcow2", "b/image.qcow2")
        world.expect(world.info("image.qcow2", world.a)["virtual-size"] == MIB, "the size has changed")
        swapped(world, "image.qcow2", "2M")
        world.run_qemu("compare", "a/image.qcow2", "b/image.qcow2")
    return Case(f"no room for {step}: {chosen}", run)


def limited_raw(mode, limit):
    def run(world):
        images.write_raw(world.folder / "disk.raw", MIB, [(0, b"x" * 5000)])
        world.copy_to_sides()
        result = world.compare_on_copies("resize", "-f", "raw", f"--preallocation={mode}", "disk.raw", "8M", file_size=limit)
        world.expect(result.code == 1, "there was room")
        sizes = [(side / "disk.raw").stat().st_size for side in (world.a, world.b)]
        world.expect(sizes == [MIB, MIB], f"the sizes have changed: {sizes}")
    return Case(f"no room for {mode}: raw", run)


def used(format, holder_options, byre_holds):
    """An image that another process has open."""
    def run(world):
        world.make("create", "-f", format, "image", "1M")
        holder = world.subject_io if byre_holds else world.qemu_io
        with held_by(holder, world.folder, "image", "-f", format, *holder_options):
            world.compare_on_same_files("resize", "-f", format, "image", "2M")
        world.compare_on_same_files("resize", "-f", format, "image", "3M")
    who = "byre" if byre_holds else "QEMU"
    return Case(f"used by {who}: {format} {' '.join(holder_options)}", run)


def read_only(format):
    def run(world):
        world.make("create", "-f", format, "image", "1M")
        os.chmod(world.folder / "image", 0o444)
        before = digest(world.folder / "image")
        result = world.compare_on_same_files("resize", "-f", format, "image", "2M", as_user=True)
        world.expect(result.code == 1 and digest(world.folder / "image") == before, "it was changed")
    return Case(f"read-only: {format}", run)


def old_snapshots(step):
    def run(world):
        world.make("create", "-f", "qcow2", "-o", "compat=0.10", "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 1 0 256k")
        world.make("snapshot", "-c", "first", "image.qcow2")
        before = digest(world.folder / "image.qcow2")
        *options, size = step.split()
        world.compare_on_same_files("resize", *options, "image.qcow2", size)
        world.expect(digest(world.folder / "image.qcow2") == before, "it was changed")
    return Case(f"snapshots in version 2: {step}", run)


def state_is_told(world):
    """Under the name byre a failure says what the size is now."""
    world.make("create", "-f", "qcow2", "image.qcow2", "1M")
    result = world.byre.run(["resize", "--preallocation=full", "image.qcow2", "16M"], world.folder, file_size=4 * MIB)
    world.expect(result.code == 1 and b"1048576 bytes, as before" in result.err, result.text())
    result = world.byre.run(["resize", "--shrink", "image.qcow2", "64k"], world.folder)
    world.expect(result.code == 0 and result.out == b"Image resized.\n", result.text())


def cases():
    for chosen in LAYOUTS:
        for title in STEPS:
            yield sequence(chosen, title)
    for chosen in (layout(), layout(cluster_size=512), layout(extended_l2="on"), layout(refcount_bits=64)):
        for title in STEPS:
            yield sequence(chosen, title, snapshots=True)
    for base_format in ("raw", "qcow2"):
        for base_size in (512 * KIB, MIB, 3 * MIB):
            for steps in (["2M"], ["--shrink 512k", "4M"], ["--preallocation=metadata 2M"],
                          ["--preallocation=falloc 2M"], ["--preallocation=full 4M"], ["--shrink 64k", "+64k"]):
                yield chain(layout(), base_format, base_size, steps)
    yield chain(layout(compat="0.10"), "qcow2", 512 * KIB, ["2M"])
    yield chain(layout(extended_l2="on", cluster_size=128 * KIB), "qcow2", 3 * MIB, ["2M"])
    for chosen in (layout(), layout(cluster_size=512), layout(data_file="image.data")):
        for step in ("--preallocation=full 16M", "--preallocation=falloc 16M"):
            yield limited(chosen, step, 4 * MIB)
    for mode in ("full", "falloc"):
        yield limited_raw(mode, 4 * MIB)
    for byre_holds in (False, True):
        for format in ("raw", "qcow2"):
            for options in ([], ["-r"]):
                yield used(format, options, byre_holds)
    for format in ("raw", "qcow2"):
        yield read_only(format)
    for step in ("2M", "--shrink 64k", "1M", "--preallocation=full 2M"):
        yield old_snapshots(step)
    yield Case("a failure tells the size", state_is_told, byre_only=True)
