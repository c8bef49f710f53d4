# SPDX-License-Identifier: Apache-2.0
"""Malicious images: they lead to an error or a result, soon and in little memory. If QEMU itself does not terminate,
only byre is tested."""
import random

import images
import qcow2_bytes as qcow2
from case import Case
from cases_damage import COMMANDS, look, make
from images import GIB, KIB, MIB

MEMORY_MAX = 1 * GIB
SECONDS_MAX = 20


def refused(world, *arguments):
    """The subject terminates with an error that gives the reason."""
    result = world.run_subject(*arguments, code=None, memory=MEMORY_MAX, seconds=SECONDS_MAX)
    world.expect(0 < result.code < 64 and result.err.startswith(b"qemu-img: "), result.text())
    return result


def chain_to_itself(name, names, prepare=None):
    """names[i] is backed by names[i + 1]; the last one refers back to a member."""
    def run(world):
        for place, (image, backing) in enumerate(names):
            path = world.folder / image
            path.parent.mkdir(exist_ok=True)
            world.make("create", "-f", "qcow2", "-u", "-b", backing.format(folder=world.folder), "-F", "qcow2",
                       f"new{place}", "1M")
            (world.folder / f"new{place}").rename(path)
        if prepare:
            prepare(world)
        first = names[0][0]
        world.compare_on_same_files("info", first)
        world.compare_on_same_files("info", "--output=json", first)
        for arguments in (["check", first], ["map", first], ["map", "--output=json", first],
                          ["convert", "-O", "raw", first, "out.raw"], ["compare", first, first],
                          ["measure", "-O", "qcow2", first], ["dd", f"if={first}", "of=out.raw"],
                          ["info", "--backing-chain", first],
                          ["create", "-f", "qcow2", "-b", first, "-F", "qcow2", "new.qcow2"],
                          ["convert", "-O", "qcow2", "-B", first, "-F", "qcow2", first, "new.qcow2"]):
            refused(world, *arguments)
    return Case(f"chain that contains itself, {name}", run, byre_only=True)


def link(kind):
    def prepare(world):
        if kind == "symbolic":
            (world.folder / "other.qcow2").symlink_to("a.qcow2")
        else:
            (world.folder / "other.qcow2").hardlink_to(world.folder / "a.qcow2")
    return prepare


def raw_data_file_is_the_image(world):
    """A data file that is the image itself, or its backing file: writing it would destroy the metadata."""
    world.make("create", "-f", "qcow2", "-o", "data_file=image.data", "image.qcow2", "1M")
    image = qcow2.Image(world.folder / "image.qcow2")
    place = image.extension(0x44415441)
    world.expect(image.number(place + 4, 4) == 10, "the data file's name is not where it was")
    image.bytes[place + 8:place + 18] = b"image.qcow"
    image.save()
    (world.folder / "image.qcow").symlink_to("image.qcow2")
    for command in COMMANDS[:8]:
        target = ["out.raw"] if command[0] == "convert" else []
        result = world.run_subject(*command, "image.qcow2", *target, code=None, memory=MEMORY_MAX, seconds=SECONDS_MAX)
        world.expect(result.code >= 0, result.text())


def backing_name(name, backing, fmt=None):
    """Strings that may be stored as a backing file's name but are not valid names."""
    def run(world):
        world.make("create", "-f", "qcow2", "-u", "-b", backing, "-F", "raw", "image.qcow2", "1M")
        world.compare_on_same_files("info", "image.qcow2", seconds=SECONDS_MAX)
        world.compare_on_same_files("info", "--output=json", "image.qcow2", seconds=SECONDS_MAX)
        for arguments in (["check", "image.qcow2"], ["map", "--output=json", "image.qcow2"],
                          ["convert", "-O", "raw", "image.qcow2", "out.raw"]):
            world.compare_on_same_files(*arguments, seconds=SECONDS_MAX)
    return Case(f"backing file {name}", run)


def deep_chain(depth):
    def run(world):
        world.make("create", "-f", "raw", "0", "1M")
        for level in range(1, depth + 1):
            world.make("create", "-f", "qcow2", "-u", "-b", str(level - 1), "-F", "qcow2" if level > 1 else "raw",
                       str(level), "1M")
        for arguments in (["info", str(depth)], ["check", str(depth)], ["map", "--output=json", str(depth)],
                          ["convert", "-O", "raw", str(depth), "out.raw"]):
            world.compare_on_same_files(*arguments, seconds=SECONDS_MAX)
    return Case(f"chain of {depth}", run)


def random_damage(seed, chosen):
    """Bytes flipped at random offsets of the metadata, the same in every run."""
    def run(world):
        make(world, chosen)
        chooser = random.Random(f"{seed} {chosen}")
        image = qcow2.Image(world.folder / "image.qcow2")
        cluster = image.cluster_size
        places = [0, image.get("l1_table_offset"), image.get("refcount_table_offset"), image.refcount_block(0),
                  image.l2_table(0), image.get("snapshots_offset")]
        for _ in range(chooser.randint(1, 4)):
            start = chooser.choice(places)
            at = start + chooser.randrange(min(cluster, 160 if start == 0 else 256))
            if 4 <= at < 8 or at < 4:
                continue
            image.bytes[at] = chooser.choice((0, 1, 0x40, 0x7F, 0x80, 0xFF, chooser.randrange(256)))
        image.save()
        look(world)
    return Case(f"random damage {seed} to {chosen}", run)


def bomb(chosen):
    """Every L2 entry is the same compressed cluster: a small file, a large disk."""
    def run(world):
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", "64M")
        (world.folder / "pattern").write_bytes(images.text(chosen.cluster_size, 1))
        world.write("image.qcow2", f"write -c -s pattern 0 {chosen.cluster_size}")
        image = qcow2.Image(world.folder / "image.qcow2")
        entry = image.number(image.l2_entry(0))
        for index in range(min(image.cluster_size // image.l2_entry_size, (64 << 20) // image.cluster_size)):
            image.put(image.l2_table(0) + index * image.l2_entry_size, entry)
        image.save()
        for arguments in (["check", "image.qcow2"], ["info", "image.qcow2"],
                          ["map", "--output=json", "image.qcow2"], ["compare", "image.qcow2", "image.qcow2"],
                          ["convert", "-O", "qcow2", "-c", "image.qcow2", "out"]):
            world.compare_on_same_files(*arguments, memory=2 * MEMORY_MAX, seconds=60)
    return Case(f"one compressed cluster for all of {chosen}", run)


def long_file(size):
    """A file that ends far past its last cluster: check examines every cluster of it."""
    def run(world):
        make(world, images.layout())
        with open(world.folder / "image.qcow2", "r+b") as file:
            file.truncate(size)
        look(world)
    return Case(f"file of {size} bytes", run)


def snapshots_by_thousands(count, l1_size):
    """Snapshots that all refer to the same L1 table."""
    def run(world):
        make(world, images.layout(cluster_size=4096))
        image = qcow2.Image(world.folder / "image.qcow2")
        first = image.snapshot(0)
        entry = bytearray(image.bytes[first:image.snapshot(1)])
        entry[8:12] = l1_size.to_bytes(4, "big")
        table = (len(image.bytes) + 4095) // 4096 * 4096
        image.bytes += bytes(table - len(image.bytes)) + bytes(entry) * count
        image.set("snapshots_offset", table)
        image.set("nb_snapshots", count)
        image.save()
        for command in (["info"], ["map", "--output=json"], ["check"]):
            result = world.run_subject(*command, "image.qcow2", code=None, memory=MEMORY_MAX, seconds=60)
            world.expect(result.code >= 0, result.text())
    return Case(f"{count} snapshots with L1 tables of {l1_size} entries", run, byre_only=True)


def cases():
    yield chain_to_itself("at once", [("a.qcow2", "a.qcow2")])
    yield chain_to_itself("by ./", [("a.qcow2", "./a.qcow2")])
    yield chain_to_itself("by its whole name", [("a.qcow2", "{folder}/a.qcow2")])
    yield chain_to_itself("after two", [("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")])
    yield chain_to_itself("after four", [("a.qcow2", "b.qcow2"), ("b.qcow2", "c.qcow2"), ("c.qcow2", "d.qcow2"),
                                         ("d.qcow2", "b.qcow2")])
    yield chain_to_itself("over a symbolic link", [("a.qcow2", "other.qcow2")], link("symbolic"))
    yield chain_to_itself("over a hard link", [("a.qcow2", "other.qcow2")], link("hard"))
    yield chain_to_itself("through a folder", [("a.qcow2", "in/b.qcow2"), ("in/b.qcow2", "../a.qcow2")])
    yield Case("data file that is the image", raw_data_file_is_the_image)
    for name, backing in {"a folder": ".", "nothing": "gone", "a device": "/dev/null", "null-co": "null-co://",
                          "of an unknown protocol": "nope://x", "json": 'json:{"driver":"nope"}', "json of nothing": "json:",
                          "with a colon": "a:b", "file:": "file:gone", "of 1000 letters": "x" * 1000,
                          "a folder and a slash": "gone/"}.items():
        yield backing_name(name, backing)
    for depth in (30, 100):
        yield deep_chain(depth)
    for chosen in (images.layout(), images.layout(cluster_size=4096), images.layout(compat="0.10"),
                   images.layout(extended_l2="on", cluster_size=16 * KIB)):
        for seed in range(12):
            yield random_damage(seed, chosen)
    yield bomb(images.layout())
    yield bomb(images.layout(compression_type="zstd"))
    yield long_file(GIB)
    yield long_file(1 << 40)
    yield snapshots_by_thousands(1000, 1)
    yield snapshots_by_thousands(1000, 100000)
    yield snapshots_by_thousands(65536, 4 << 20)
