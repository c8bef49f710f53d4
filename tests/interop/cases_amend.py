# SPDX-License-Identifier: Apache-2.0
"""Images that get other properties, by either program, one after the other: the same output, the same disk and
snapshots, sound images. Refusals and options are in lines/amend.txt."""
import os
import re

from case import Case, digest
from cases_locks import held_by
from images import KIB, MIB, layout

VERSIONS = ["compat=v2", "compat=v3", "compat=0.10", "compat=1.1"]
# What is done in turn; the disk is written to before each of them.
STEPS = {
    "versions": [*VERSIONS, "compat=v2"],
    "wide and narrow": ["refcount_bits=64", "refcount_bits=4", "refcount_bits=32", "refcount_bits=16"],
    "several at once": ["refcount_bits=8,lazy_refcounts=on,size=3M", "compat=v2,refcount_bits=16,lazy_refcounts=off",
                        "compat=v3,refcount_bits=64,lazy_refcounts=on", "lazy_refcounts=off,size=1M"],
    "sizes": ["size=3M", "size=1M,compat=v3", "size=512k", "size=2M"],
}
LAYOUTS = [
    # With clusters of 512 KiB QEMU computes for a minute for another refcount width.
    *(layout(cluster_size=size, compat=version) for size in (512, 1 * KIB, 4 * KIB, 16 * KIB, 64 * KIB)
      for version in ("0.10", "1.1")),
    layout(lazy_refcounts="on"), layout(preallocation="metadata"), layout(preallocation="falloc", cluster_size=4 * KIB),
]
OTHERS = [
    layout(extended_l2="on"), layout(extended_l2="on", cluster_size=16 * KIB), layout(compression_type="zstd"),
    layout(data_file="image.data"), layout(data_file="image.data", data_file_raw="on"),
    layout(data_file="image.data", cluster_size=512),
]
SIZE = 2 * MIB


def writes(number, has_zeroes):
    base = number * 37 * KIB
    commands = [f"write -P {number + 1} {base} 200k", f"write -P {number + 50} {700 * KIB + base} 10k",
                f"discard {300 * KIB + base} 64k"]
    if has_zeroes:
        commands += [f"write -z {100 * KIB + base} 128k", f"write -z -u {400 * KIB + base} 128k"]
    return commands


def contents(world, side, name, snapshot=None):
    chosen = ["-l", snapshot] if snapshot else []
    world.make("convert", "-O", "raw", *chosen, name, "contents.raw", folder=side)
    found = digest(side / "contents.raw")
    (side / "contents.raw").unlink()
    return found


def same_result(world, snapshots=(), name="image.qcow2"):
    """Both sides have the same disk and snapshots, in images that both checkers find sound."""
    for side in (world.a, world.b):
        world.run_qemu("check", name, folder=side)
        world.run_subject("check", name, folder=side)
    mine, wanted = world.info(name, world.a), world.info(name, world.b)
    world.expect(without_dates(mine) == without_dates(wanted), f"info differs: {mine}\nQEMU: {wanted}")
    for snapshot in (None, *snapshots):
        world.expect(contents(world, world.a, name, snapshot) == contents(world, world.b, name, snapshot),
                     f"{snapshot or 'the disk'} differs")


def without_dates(info):
    return re.sub(r"'(vm-clock|date)-n?sec': \d+", "", str(info))


def unchanged(world, before, snapshots, name="image.qcow2"):
    for side in (world.a, world.b):
        found = [contents(world, side, name, snapshot) for snapshot in (None, *snapshots)]
        world.expect(found == before, "amend has changed what is read")


def sequence(chosen, title, order="b", snapshots=False, backing=None):
    """`order`: which program amends our side at each step; on the other one it is always QEMU."""
    def run(world):
        names = ["first", "second"] if snapshots else []
        arguments = []
        if backing:
            world.make("create", "-f", "qcow2", "base.qcow2", backing)
            world.write("base.qcow2", f"write -P 99 0 {backing}")
            arguments = ["-b", "base.qcow2", "-F", "qcow2"]
        world.make("create", "-f", "qcow2", *chosen.arguments(), *arguments, "image.qcow2", str(SIZE))
        is_version_2 = chosen.get("compat") == "0.10"
        for number, name in enumerate(names):
            world.write("image.qcow2", *writes(number, False))
            world.make("snapshot", "-c", name, "image.qcow2")
        world.write("image.qcow2", *writes(3, not is_version_2 and not snapshots))
        if snapshots and not is_version_2:  # QEMU's downgrade destroys snapshots that share such clusters: not here
            world.write("image.qcow2", f"write -z -u {900 * KIB} 100k", f"write -z {1500 * KIB} 100k")
        world.copy_to_sides()
        for number, step in enumerate(STEPS[title]):
            before = [contents(world, world.a, "image.qcow2", name) for name in (None, *names)]
            is_ours = order[number % len(order)] == "b"
            subject = world.subject if is_ours else world.qemu
            command = ["amend", "-o", step, "image.qcow2"]
            theirs, ours = world.qemu.run(command, world.b), subject.run(command, world.a)
            world.equal(command, ours, theirs)
            if "size" not in step:
                unchanged(world, before, names)
            same_result(world, names)
            for side in (world.a, world.b):
                world.write("image.qcow2", f"write -P {number + 9} {number * 50 * KIB} 20k", folder=side)
        same_result(world, names)
    kind = "snapshots in " if snapshots else f"over {backing}: " if backing else ""
    return Case(f"{title} by {order}: {kind}{chosen}", run)


def width(old, new, cluster_size):
    def run(world):
        options = ["-o", f"refcount_bits={old},cluster_size={cluster_size}"]
        world.make("create", "-f", "qcow2", *options, "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 1 0 500k", "write -z 600k 64k")
        if old > 2:
            world.make("snapshot", "-c", "first", "image.qcow2")
        world.write("image.qcow2", "write -P 2 100k 50k")
        names = ["first"] if old > 2 else []
        world.copy_to_sides()
        before = [contents(world, world.a, "image.qcow2", name) for name in (None, *names)]
        world.compare_on_copies("amend", "-o", f"refcount_bits={new}", "image.qcow2")
        if b"has a refcount" in world.qemu.run(["amend", "-o", f"refcount_bits={new}", "image.qcow2"], world.b).err:
            same_result(world, names)
            return
        unchanged(world, before, names)
        same_result(world, names)
        # Each program goes back from what the other one made.
        theirs = world.qemu.run(["amend", "-o", f"refcount_bits={old}", "image.qcow2"], world.a)
        ours = world.subject.run(["amend", "-o", f"refcount_bits={old}", "image.qcow2"], world.b)
        world.equal(["amend"], ours, theirs)
        unchanged(world, before, names)
        same_result(world, names)
    return Case(f"{old} to {new} bits: clusters of {cluster_size}", run)


def shared_zeroes(backing):
    """The disk has zeroes in clusters whose data a snapshot has. QEMU writes the zeroes into them."""
    def run(world):
        world.make("create", "-f", "qcow2", "base.qcow2", "1M")
        world.write("base.qcow2", "write -P 9 0 1M")
        over = ["-b", "base.qcow2", "-F", "qcow2"] if backing else []
        world.make("create", "-f", "qcow2", *over, "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 7 0 256k")
        world.make("snapshot", "-c", "first", "image.qcow2")
        world.write("image.qcow2", "write -z 0 128k", "write -z -u 512k 64k")
        world.make("snapshot", "-c", "second", "image.qcow2")
        world.write("image.qcow2", "write -P 3 0 4k")
        world.copy_to_sides()
        names = ["first", "second"]
        before = [contents(world, world.a, "image.qcow2", name) for name in (None, *names)]
        world.run_subject("amend", "-o", "compat=v2", "image.qcow2", folder=world.a)
        found = [contents(world, world.a, "image.qcow2", name) for name in (None, *names)]
        world.expect(found == before, "amend has changed what is read")
        world.run_qemu("check", "image.qcow2", folder=world.a)
        world.run_subject("check", "image.qcow2", folder=world.a)
        world.expect(world.info("image.qcow2", world.a)["format-specific"]["data"]["compat"] == "0.10", "not version 2")
    return Case(f"zeroes over a snapshot's data{' and a backing file' if backing else ''}", run, byre_only=True)


def bitmaps(options, code):
    """QEMU's amend leaves the clusters of bitmaps as leaks; byre refuses, or removes them."""
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "1M")
        world.write("image.qcow2", "write -P 1 0 256k")
        for name in ("one", "two"):
            world.make("bitmap", "--add", "image.qcow2", name)
        before = digest(world.folder / "image.qcow2")
        result = world.run_subject("amend", *options, "-o", "compat=v2", "image.qcow2", code=code)
        if code:
            world.expect(b"bitmaps" in result.err and before == digest(world.folder / "image.qcow2"), result.text())
            return
        world.run_qemu("check", "image.qcow2")
        shown = world.run_qemu("info", "image.qcow2")
        world.expect(b"bitmap" not in shown.out + shown.err, shown.text())
    return Case(f"bitmaps {' '.join(options)}", run, byre_only=True)


def bitmaps_stay(step):
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "1M")
        world.make("bitmap", "--add", "image.qcow2", "one")
        world.write("image.qcow2", "write -P 1 0 256k")
        world.copy_to_sides()
        world.compare_on_copies("amend", "-o", step, "image.qcow2")
        same_result(world)  # info has the flags of the bitmap
    return Case(f"a bitmap stays valid: {step}", run)


def refused_as_a_whole(options):
    """QEMU makes the first change before it refuses the second one."""
    def run(world):
        world.make("create", "-f", "qcow2", "-o", "refcount_bits=64", "image.qcow2", "1M")
        world.copy_to_sides()
        result = world.compare_on_copies("amend", "-o", options, "image.qcow2")
        world.expect(result.code == 1, "it was not refused")
        world.expect(digest(world.a / "image.qcow2") == digest(world.folder / "image.qcow2"), "it was changed")
        world.expect(digest(world.b / "image.qcow2") != digest(world.folder / "image.qcow2"), "QEMU changed nothing")
    return Case(f"refused as a whole: {options}", run, byre_only=True)


def zstd(world):
    """QEMU makes an image whose compressed clusters nobody can read."""
    world.make("create", "-f", "qcow2", "-o", "compression_type=zstd", "image.qcow2", "1M")
    world.write("image.qcow2", "write -c -P 5 0 64k")
    before = digest(world.folder / "image.qcow2")
    result = world.run_subject("amend", "-o", "compat=v2", "image.qcow2", code=1)
    world.expect(b"incompatible features 0x8" in result.err, result.text())
    world.expect(digest(world.folder / "image.qcow2") == before, "it was changed")


def renamed_data_file(world):
    """With and without a name; the file that is open stays."""
    world.make("create", "-f", "qcow2", "-o", "data_file=data.raw", "image.qcow2", "1M")
    world.write("image.qcow2", "write -P 5 0 256k")
    world.copy_to_sides()
    opened = "driver=qcow2,file.filename=image.qcow2,data-file.driver=file,data-file.filename=data.raw"
    for name in ("", "data.raw", "x" * 500, "y" * 900, "data.raw"):
        world.compare_on_copies("amend", "--image-opts", "-o", f"data_file={name}", opened)
        shown = [world.qemu.run(["info", "--image-opts", opened], side).out for side in (world.a, world.b)]
        shown = [re.sub(rb"disk size: .*\n", b"", each) for each in shown]
        world.expect(shown[0] == shown[1], f"{shown[0].decode()}\n{shown[1].decode()}")
    same_result(world)


def limited(options, chosen):
    """A host without room: byre changes nothing, or what both versions read in the same way; and can be run again."""
    def run(world):
        world.make("create", "-f", "qcow2", "base.qcow2", "1M")
        world.make("create", "-f", "qcow2", *chosen.arguments(), "-b", "base.qcow2", "-F", "qcow2", "image.qcow2")
        world.write("image.qcow2", "write -P 1 0 256k", "write -z 512k 512k")
        world.copy_to_sides()
        size = (world.a / "image.qcow2").stat().st_size
        before = [contents(world, world.a, "image.qcow2")]
        command = ["amend", "-o", options, "image.qcow2"]
        theirs = world.qemu.run(command, world.b, file_size=size)
        ours = world.subject.run(command, world.a, file_size=size)
        world.expect(theirs.code == 1 and ours.code == 1, f"{theirs.text()}\n{ours.text()}")
        for program in (world.qemu, world.subject):
            result = program.run(["check", "image.qcow2"], world.a)
            world.expect(result.code in ((0,) if world.subject_is_byre else (0, 3)), result.text())
        world.compare_on_copies(*command)
        unchanged(world, before, [])
        world.run_qemu("check", "image.qcow2", folder=world.a)
    return Case(f"no room for {options}: {chosen}", run)


def used(holder_options, byre_holds):
    def run(world):
        world.make("create", "-f", "qcow2", "image", "1M")
        holder = world.subject_io if byre_holds else world.qemu_io
        with held_by(holder, world.folder, "image", "-f", "qcow2", *holder_options):
            world.compare_on_same_files("amend", "-f", "qcow2", "-o", "refcount_bits=8", "image")
        world.compare_on_same_files("amend", "-f", "qcow2", "-o", "refcount_bits=4", "image")
    who = "byre" if byre_holds else "QEMU"
    return Case(f"used by {who}: {' '.join(holder_options)}", run)


def read_only(world):
    world.make("create", "-f", "qcow2", "image", "1M")
    os.chmod(world.folder / "image", 0o444)
    before = digest(world.folder / "image")
    result = world.compare_on_same_files("amend", "-f", "qcow2", "-o", "compat=v2", "image", as_user=True)
    world.expect(result.code == 1 and digest(world.folder / "image") == before, "it was changed")


def corrupt(world):
    world.make("create", "-f", "qcow2", "image.qcow2", "1M")
    with open(world.folder / "image.qcow2", "r+b") as file:
        file.seek(79)
        file.write(b"\2")
    world.compare_on_same_files("amend", "-o", "refcount_bits=8", "image.qcow2")


def dirty(options):
    """An image with lazy refcounts whose writer was killed."""
    def run(world):
        world.make("create", "-f", "qcow2", "-o", "lazy_refcounts=on", "image.qcow2", "1M")
        world.qemu_io.run(["-c", "write -P 1 0 512k", "-c", "flush", "-c", "abort", "image.qcow2"], world.folder)
        world.expect(b"dirty" not in world.qemu.run(["info", "image.qcow2"], world.folder).err, "")
        world.copy_to_sides()
        theirs = world.qemu.run(["amend", "-o", options, "image.qcow2"], world.b)
        ours = world.subject.run(["amend", "-o", options, "image.qcow2"], world.a)
        world.expect(ours.code == theirs.code == 0, f"{ours.text()}\n{theirs.text()}")
        same_result(world)
    return Case(f"dirty: {options}", run)


def vm_state(world):
    """Snapshots with VM state stay in both directions."""
    world.make("create", "-f", "qcow2", "-o", "compat=0.10", "image.qcow2", "1M")
    world.write("image.qcow2", "write -P 1 0 512k", "write -b -P 9 0 128k")
    world.make("snapshot", "-c", "first", "image.qcow2")
    world.copy_to_sides()
    for step in ("compat=v3", "refcount_bits=32", "refcount_bits=16", "compat=v2"):
        world.compare_on_copies("amend", "-o", step, "image.qcow2")
        same_result(world, ["first"])


def progress(options):
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "1M")
        world.copy_to_sides()
        command = ["amend", "-p", "-o", options, "image.qcow2"]
        theirs, ours = world.qemu.run(command, world.b), world.subject.run(command, world.a)
        shown = [re.findall(rb"\(([\d.]+)/100%\)", result.out) for result in (ours, theirs)]
        world.expect(ours.code == theirs.code == 0 and shown[0][0] == b"0.00" and shown[0][-1] == b"100.00",
                     ours.text())
        steps = [float(step) for step in shown[0]]
        world.expect(steps == sorted(steps), ours.text())
        same_result(world)
    return Case(f"progress: {options}", run)


def state_is_told(world):
    """Under the name byre a failure says what the image has."""
    world.make("create", "-f", "qcow2", "-o", "cluster_size=512", "image.qcow2", "1M")
    world.write("image.qcow2", "write -P 1 0 256k")
    size = (world.folder / "image.qcow2").stat().st_size
    result = world.byre.run(["amend", "-o", "refcount_bits=64", "image.qcow2"], world.folder, file_size=size)
    world.expect(result.code == 1 and b"refcounts of 16 bits" in result.err, result.text())


def cases():
    for chosen in LAYOUTS:
        for title in STEPS:
            yield sequence(chosen, title)
    for chosen in OTHERS:
        yield sequence(chosen, "wide and narrow")
        yield sequence(chosen, "sizes")
    for chosen in (layout(), layout(cluster_size=4 * KIB), layout(compat="0.10", cluster_size=1 * KIB)):
        for order in ("b", "bq", "qb"):
            yield sequence(chosen, "versions", order, snapshots=True)
            yield sequence(chosen, "wide and narrow", order, snapshots=True)
        for title in STEPS:
            yield sequence(chosen, title, backing="2M")
            yield sequence(chosen, title, "bq", backing="1M")
    for old in (1, 2, 4, 8, 16, 32, 64):
        for new in (1, 2, 4, 8, 16, 32, 64):
            yield width(old, new, 512 if (old + new) % 3 == 0 else 4 * KIB if new > old else 64 * KIB)
    for backing in (False, True):
        yield shared_zeroes(backing)
    yield bitmaps([], 1)
    yield bitmaps(["--force"], 0)
    for step in ("refcount_bits=8", "compat=v3", "lazy_refcounts=on", "refcount_bits=64,lazy_refcounts=on"):
        yield bitmaps_stay(step)
    for options in ("refcount_bits=16,lazy_refcounts=on,compat=v2", "refcount_bits=32,backing_file=x",
                    "refcount_bits=8,size=1000", "size=3M,compat=v2", 
                    "refcount_bits=32,size=3M,compat=v3,data_file_raw=off,backing_fmt=raw"):
        yield refused_as_a_whole(options)
    yield Case("zstd to version 2", zstd, byre_only=True)
    for chosen in (layout(), layout(cluster_size=512)):
        for options in ("refcount_bits=64", "compat=v2"):
            yield limited(options, chosen)
    for byre_holds in (False, True):
        for options in ([], ["-r"]):
            yield used(options, byre_holds)
    yield Case("read-only", read_only)
    yield Case("corrupt", corrupt)
    for options in ("compat=v2", "refcount_bits=64", "lazy_refcounts=off", "size=2M"):
        yield dirty(options)
    yield Case("VM state", vm_state)
    yield Case("other names of the data file", renamed_data_file)
    for options in ("compat=v2", "compat=v3", "refcount_bits=64", "lazy_refcounts=on", "refcount_bits=8,size=2M"):
        yield progress(options)
    yield Case("a failure tells the state", state_is_told, byre_only=True)
