# SPDX-License-Identifier: Apache-2.0
"""`convert --snapshots` that is refused, or fails: nothing is left, and nothing is lost."""
import signal
import time

import qcow2_bytes as qcow2
from case import Case
from cases_convert_snapshots import MIB, SIZE, contents, copy, is_clean, listed, live, make_source

REFUSED = [
    ("-O raw", "source.qcow2", "target's format is raw"),
    ("", "source.qcow2", "target's format is raw"),
    ("-O qcow2 -n", "source.qcow2", "only to a new image"),
    ("-O qcow2 -l one", "source.qcow2", "either one snapshot"),
    ("-O qcow2", "source.qcow2 source.qcow2", "several sources"),
    ("-O qcow2", "disk.raw", "source's format is raw"),
    ("-O qcow2 -o data_file=data", "source.qcow2", "external data file"),
    ("-O qcow2 -o refcount_bits=1", "source.qcow2", "refcount_bits is 1"),
    ("-O qcow2 -o refcount_bits=2", "source.qcow2", "refcount_bits is 2"),
    ("-O qcow2 -o compat=0.10", "sizes.qcow2", "different disk sizes"),
    ("-O qcow2", "table.qcow2", "snapshot table of the source"),
    ("-O qcow2", "l1.qcow2", "snapshot 'one'"),
    ("-O qcow2", "disk_size.qcow2", "snapshot 'one'"),
    ("-O qcow2", "l1_size.qcow2", "l1_size of snapshot"),
]


def refused(options, sources, text):
    """The existing file keeps its contents."""
    def run(world):
        make_source(world, "")
        (world.folder / "disk.raw").write_bytes(bytes(MIB))
        world.make("create", "-q", "-f", "qcow2", "sizes.qcow2", SIZE)
        live(world, "sizes.qcow2", [["-c", "one"]])
        world.make("resize", "-q", "sizes.qcow2", "2M")
        for name, change in (("table", lambda image, place: image.put(place + 36, 1 << 30, 4)),
                             ("l1", lambda image, place: image.put(place, image.number(place) + 512)),
                             ("l1_size", lambda image, place: image.put(place + 8, 1 << 26, 4)),
                             ("disk_size", lambda image, place: image.put(place + 48, 1 << 62))):
            image = qcow2.Image(world.folder / "source.qcow2")
            image.path = world.folder / f"{name}.qcow2"
            change(image, image.snapshot(0))
            image.save()
        (world.folder / "copy.qcow2").write_bytes(b"kept")
        for _ in range(2):
            result = world.byre.run(["convert", "--snapshots", *options.split(), *sources.split(), "copy.qcow2"], world.folder)
            world.expect(result.code == 1 and text in result.err.decode(), result.text())
            copy_path = world.folder / "copy.qcow2"
            world.expect(not copy_path.exists() or copy_path.read_bytes() == b"kept", "the file was changed")
            copy_path.unlink(missing_ok=True)
    return Case(f"refused: {options} {sources}", run, byre_only=True)


def large_tables(world):
    """Snapshots whose L1 tables would together take more memory than any real ones."""
    make_source(world, "", [["-c", f"s{number}"] for number in range(33)])
    image = qcow2.Image(world.folder / "source.qcow2")
    for number in range(33):
        image.put(image.snapshot(number) + 8, 1 << 22, 4)
    image.save()
    result = copy(world, code=1)
    world.expect(b"138412032 entries" in result.err, result.text())


def as_qemu_img(world):
    """The option belongs to byre's own name."""
    make_source(world, "")
    world.copy_to_sides()
    world.compare_on_copies("convert", "--snapshots", "-O", "qcow2", "source.qcow2", "copy.qcow2")


def damaged_in_the_middle(world):
    """An error names the snapshot, and leaves nothing; --salvage copies the rest."""
    make_source(world, "", ["write -P 1 0 1M", ["-c", "one"], "write -P 2 0 64k", ["-c", "two"], "write -P 3 0 64k"])
    image = qcow2.Image(world.folder / "source.qcow2")
    l1 = image.number(image.snapshot(1))
    l2 = image.number(l1) & qcow2.OFFSET_MASK
    image.put(l2, image.number(l2) + 512)
    image.save()
    result = copy(world, code=1)
    world.expect(b"snapshot 'two'" in result.err, result.text())
    world.expect(not (world.folder / "copy.qcow2").exists(), "a part of a copy is left")
    copy(world, "--salvage")
    world.expect(listed(world, "copy.qcow2")[1] == ["1", "2"], "snapshots are missing")
    is_clean(world, "copy.qcow2")
    world.run_qemu("compare", "source.qcow2", "copy.qcow2")
    world.expect(contents(world, "source.qcow2", "1") == contents(world, "copy.qcow2", "1"), "the first snapshot")
    world.expect(contents(world, "copy.qcow2", "2") == bytes(64 << 10) + b"\x01" * (960 << 10), "the second snapshot")


def no_space(world):
    make_source(world, "", ["write -P 1 0 1M", ["-c", "one"], "write -P 2 0 1M", ["-c", "two"], "write -P 3 0 1M"])
    for limit in (1 << 20, 1 << 21, 3 << 20):
        result = world.byre.run(["convert", "--snapshots", "-O", "qcow2", "source.qcow2", "copy.qcow2"], world.folder,
                                file_size=limit)
        world.expect(result.code == 1, result.text())
        world.expect(not (world.folder / "copy.qcow2").exists(), "a part of a copy is left")


def interrupted(world):
    make_source(world, "", ["write -P 1 0 1M", ["-c", "one"], "write -P 2 0 1M", ["-c", "two"], "write -P 3 0 1M"])
    process = world.byre.start(["convert", "--snapshots", "-r", "100k", "-O", "qcow2", "source.qcow2", "copy.qcow2"],
                               world.folder)
    while not (world.folder / "copy.qcow2").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    world.expect(process.returncode != 0, (out + err).decode())
    world.expect(not (world.folder / "copy.qcow2").exists(), "a part of a copy is left")


def cases():
    found = [refused(*row) for row in REFUSED]
    found += [Case(name, run, byre_only=True) for name, run in (
        ("damaged in the middle", damaged_in_the_middle), ("no space", no_space), ("large tables", large_tables), ("interrupted", interrupted))]
    found.append(Case("as qemu-img", as_qemu_img))
    return found
