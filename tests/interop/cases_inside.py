# SPDX-License-Identifier: Apache-2.0
"""What QEMU stores inside an image in addition to the disk: snapshots, VM state, bitmaps, dirty marks."""
import images
import qcow2_bytes as qcow2
from case import Case, digest
from images import KIB, MIB


def snapshots(world, chosen, count):
    """An image with snapshots of different contents; the last is the disk itself."""
    world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", "8M")
    for number in range(count):
        world.write("image.qcow2", f"write -P {number + 1} {number * 100 * KIB} 150k",
                    f"write -z {number * 200 * KIB} 64k")
        world.make("snapshot", "-c", f"s{number}", "image.qcow2")
        if number % 2:
            world.make("snapshot", "-c", f"name with blanks {number} ä", "image.qcow2")
    world.write("image.qcow2", "write -P 200 1M 256k")


def with_snapshots(chosen, count):
    def run(world):
        snapshots(world, chosen, count)
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                          ["check", "image.qcow2"], ["check", "--output=json", "image.qcow2"],
                          ["map", "--output=json", "image.qcow2"], ["measure", "-O", "qcow2", "image.qcow2"]):
            world.compare_on_same_files(*arguments)
        selectors = [f"s{number}" for number in range(count)] + ["1", f"snapshot.id={count}",
                                                                "snapshot.name=s0", "nope", "99", ""]
        for selector in selectors:
            world.compare_on_same_files("measure", "-O", "qcow2", "-l", selector, "image.qcow2")
            world.qemu.run(["convert", "-l", selector, "-O", "raw", "image.qcow2", "theirs.raw"], world.folder)
            wanted = digest(world.folder / "theirs.raw") if (world.folder / "theirs.raw").exists() else None
            (world.folder / "theirs.raw").unlink(missing_ok=True)
            world.compare_on_same_files("convert", "-l", selector, "-O", "raw", "image.qcow2", "ours.raw")
            made = world.folder / "ours.raw"
            world.expect((digest(made) if made.exists() else None) == wanted, f"snapshot {selector!r} differs")
            made.unlink(missing_ok=True)
    return Case(f"{count} snapshots in {chosen}", run)


def with_vm_state(chosen, size):
    """A VM state area, created by hand in the snapshot table: its clusters belong to no guest offset."""
    def run(world):
        snapshots(world, chosen, 2)
        image = qcow2.Image(world.folder / "image.qcow2")
        image.set_vm_state_size(0, size)
        image.save()
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                          ["check", "image.qcow2"], ["measure", "-O", "qcow2", "-l", "s0", "image.qcow2"]):
            world.compare_on_same_files(*arguments)
        world.make("convert", "-l", "s0", "-O", "raw", "image.qcow2", "theirs.raw")
        world.run_subject("convert", "-l", "s0", "-O", "raw", "image.qcow2", "ours.raw")
        world.expect(digest(world.folder / "ours.raw") == digest(world.folder / "theirs.raw"), "bytes differ")
    return Case(f"VM state of {size} in {chosen}", run)


def resized_after_snapshot(grow):
    """A snapshot remembers its own disk size."""
    def run(world):
        snapshots(world, images.layout(), 2)
        world.make("resize", *([] if grow else ["--shrink"]), "image.qcow2", "12M" if grow else "1M", code=0)
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                          ["check", "image.qcow2"], ["map", "--output=json", "image.qcow2"]):
            world.compare_on_same_files(*arguments)
        world.qemu.run(["convert", "-l", "s0", "-O", "raw", "image.qcow2", "theirs.raw"], world.folder)
        world.compare_on_same_files("convert", "-l", "s0", "-O", "raw", "image.qcow2", "ours.raw")
        names = [name for name in ("theirs.raw", "ours.raw") if (world.folder / name).exists()]
        world.expect(len(names) != 1, f"only {names}")
        if names:
            world.expect(digest(world.folder / "ours.raw") == digest(world.folder / "theirs.raw"), "bytes differ")
    return Case(f"disk {'grown' if grow else 'shrunk'} after snapshots", run)


def with_bitmaps(chosen, names, granularity):
    def run(world):
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", "8M")
        for number, name in enumerate(names):
            world.make("bitmap", "--add", *(["-g", granularity] if granularity else []),
                       *(["--disable"] if number % 2 else []), "image.qcow2", name)
            world.write("image.qcow2", f"write -P {number + 1} {number * 300 * KIB} 200k")
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                          ["check", "image.qcow2"], ["check", "--output=json", "image.qcow2"],
                          ["map", "--output=json", "image.qcow2"], ["measure", "-O", "qcow2", "image.qcow2"],
                          ["measure", "-O", "qcow2", "--output=json", "image.qcow2"],
                          ["measure", "-O", "qcow2", "-o", "compat=0.10", "image.qcow2"],
                          ["measure", "-O", "raw", "image.qcow2"]):
            world.compare_on_same_files(*arguments)
        world.make("convert", "-O", "raw", "image.qcow2", "wanted.raw")
        world.compare_on_same_files("compare", "image.qcow2", "wanted.raw")
    return Case(f"{len(names)} bitmaps, granularity {granularity}, in {chosen}", run)


def in_use_bitmap(world):
    """A writer that died leaves its bitmaps marked as in use."""
    world.make("create", "-f", "qcow2", "image.qcow2", "8M")
    world.make("bitmap", "--add", "image.qcow2", "dirty")
    world.qemu_io.run(["-c", "write -P 1 0 64k", "-c", "flush", "-c", "abort", "image.qcow2"], world.folder)
    for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                      ["check", "image.qcow2"], ["measure", "-O", "qcow2", "image.qcow2"]):
        world.compare_on_same_files(*arguments)


def dirty(chosen):
    """A writer with lazy refcounts that died leaves the image dirty: it must still be readable, and only a writer
    repairs it."""
    def run(world):
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", "8M")
        world.qemu_io.run(["-c", "write -P 1 0 300k", "-c", "write -P 2 1M 64k", "-c", "flush", "-c", "abort",
                           "image.qcow2"], world.folder)
        world.expect(b"cleanly shut down: no" in world.make("info", "image.qcow2").out, "it is not dirty")
        before = digest(world.folder / "image.qcow2")
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"],
                          ["check", "image.qcow2"], ["check", "--output=json", "image.qcow2"],
                          ["map", "--output=json", "image.qcow2"], ["compare", "image.qcow2", "image.qcow2"],
                          ["measure", "-O", "qcow2", "image.qcow2"], ["convert", "-O", "raw", "image.qcow2", "x"],
                          ["convert", "-O", "qcow2", "image.qcow2", "y"]):
            world.compare_on_same_files(*arguments)
        world.expect(digest(world.folder / "image.qcow2") == before, "reading changed it")
    return Case(f"dirty {chosen}", run)


def marked_corrupt(world):
    """The corrupt bit: readers continue, writers are refused."""
    world.make("create", "-f", "qcow2", "image.qcow2", "8M")
    world.write("image.qcow2", "write -P 1 0 300k")
    image = qcow2.Image(world.folder / "image.qcow2")
    image.set_feature("incompatible", 1)
    image.save()
    images.write_raw(world.folder / "disk.raw", 8 * MIB, [(0, b"x" * 5000)])
    for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"], ["check", "image.qcow2"],
                      ["map", "--output=json", "image.qcow2"], ["convert", "-O", "raw", "image.qcow2", "x"],
                      ["convert", "-n", "-O", "qcow2", "disk.raw", "image.qcow2"]):
        world.compare_on_same_files(*arguments)


def features(kind, bits):
    """Unknown feature bits, with and without a name in the image's own table."""
    def run(world):
        world.make("create", "-f", "qcow2", "image.qcow2", "1M")
        image = qcow2.Image(world.folder / "image.qcow2")
        for bit in bits:
            image.set_feature(kind, bit)
        image.save()
        for arguments in (["info", "image.qcow2"], ["info", "--output=json", "image.qcow2"], ["check", "image.qcow2"],
                          ["map", "--output=json", "image.qcow2"], ["info", "-f", "raw", "image.qcow2"],
                          ["convert", "-O", "raw", "image.qcow2", "x"], ["compare", "image.qcow2", "image.qcow2"],
                          ["create", "-f", "qcow2", "-b", "image.qcow2", "-F", "qcow2", "over.qcow2"]):
            world.compare_on_same_files(*arguments)
    return Case(f"{kind} feature bits {bits}", run)


def cases():
    for chosen in (images.layout(), images.layout(cluster_size=512), images.layout(compat="0.10"),
                   images.layout(extended_l2="on"), images.layout(refcount_bits=8),
                   images.layout(cluster_size=2 * MIB)):
        yield with_snapshots(chosen, 3)
    yield with_snapshots(images.layout(), 25)
    for size in (1, 512, 4096, 3 * MIB, 5 << 30):
        yield with_vm_state(images.layout(), size)
    yield with_vm_state(images.layout(compat="0.10"), 4096)
    yield resized_after_snapshot(True)
    yield resized_after_snapshot(False)
    for chosen in (images.layout(), images.layout(cluster_size=512), images.layout(extended_l2="on"),
                   images.layout(data_file="image.data"), images.layout(lazy_refcounts="on")):
        for names, granularity in ((["one"], None), (["a", "b", "c with blanks", "d"], "4k"), (["x" * 1000], "1M")):
            yield with_bitmaps(chosen, names, granularity)
    yield Case("bitmap in use", in_use_bitmap)
    for chosen in (images.layout(lazy_refcounts="on"), images.layout(lazy_refcounts="on", cluster_size=4096),
                   images.layout(lazy_refcounts="on", extended_l2="on"),
                   images.layout(lazy_refcounts="on", refcount_bits=64)):
        yield dirty(chosen)
    yield Case("marked corrupt", marked_corrupt)
    for kind in ("incompatible", "compatible", "autoclear"):
        for bits in ((5,), (63,), (5, 6, 40), (0,), (1,), (2,), (3,), (4,)):
            yield features(kind, bits)
