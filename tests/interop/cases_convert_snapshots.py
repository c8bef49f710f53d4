# SPDX-License-Identifier: Apache-2.0
"""`convert --snapshots`: QEMU makes the snapshots, byre copies the image, and QEMU finds each snapshot of the copy equal
to that of the source."""
import json

import images
import qcow2_bytes as qcow2
from case import Case

MIB = 1 << 20
SIZE = "1M"
# An image's life, in which snapshots are applied and deleted as well: those that are left are not each other's
# successors, and their ids are not 1, 2, 3.
HISTORY = [
    "write -P 1 0 300k", "write -z 400k 100k", ["-c", "one"], "write -P 2 100k 500k", "discard 0 64k", ["-c", "two words"],
    "write -P 3 0 64k", "write -P 4 900k 100k", ["-c", "three"], ["-a", "one"], "write -P 5 333k 77k", ["-c", "äöü 'x'"],
    ["-d", "two words"], "write -z 0 128k", ["-c", "five"], ["-a", "three"], "write -P 6 512 1024", ["-c", "six"],
    "write -P 7 700k 4k",
]
SOURCES = {
    "default": "", "clusters of 512": "cluster_size=512", "clusters of 4k": "cluster_size=4k",
    "clusters of 2M": "cluster_size=2M", "version 2": "compat=0.10", "version 2, clusters of 1k": "compat=0.10,cluster_size=1k",
    "extended": "extended_l2=on", "extended, clusters of 16k": "extended_l2=on,cluster_size=16k",
    "lazy": "lazy_refcounts=on", "metadata": "preallocation=metadata", "refcounts of 4": "refcount_bits=4",
    "refcounts of 64": "refcount_bits=64",
}
TARGETS = {
    "default": [], "clusters of 512": ["-o", "cluster_size=512"], "clusters of 2M": ["-o", "cluster_size=2M"],
    "clusters of 1k": ["-o", "cluster_size=1k"], "extended": ["-o", "extended_l2=on"],
    "extended, clusters of 16k": ["-o", "extended_l2=on,cluster_size=16k"], "version 2": ["-o", "compat=0.10"],
    "refcounts of 4": ["-o", "refcount_bits=4"], "refcounts of 64": ["-o", "refcount_bits=64"],
    "lazy": ["-o", "lazy_refcounts=on"], "metadata": ["-o", "preallocation=metadata"], "full": ["-o", "preallocation=full"],
    "compressed": ["-c"], "compressed, zstd": ["-c", "-o", "compression_type=zstd"],
    "compressed, clusters of 4k": ["-c", "-o", "cluster_size=4k"],
    "compressed, extended": ["-c", "-o", "extended_l2=on"], "compressed, version 2": ["-c", "-o", "compat=0.10"],
    "no holes": ["-S", "0"], "large holes": ["-S", "64k"], "any order": ["-W"], "one request": ["-m", "1"],
    "sixteen requests": ["-m", "16", "-W", "-o", "cluster_size=512"], "direct": ["-t", "none", "-T", "none"],
    "rate": ["-r", "200M"], "quiet": ["-q"],
}


def live(world, name, steps, io_options=()):
    """Runs an image's history with QEMU."""
    for step in steps:
        if isinstance(step, str):
            world.write(name, step, options=io_options)
        else:
            world.make(*(["snapshot", *step, name] if step[0].startswith("-") else [*step, name]))


def listed(world, name):
    """The lines of all snapshots as QEMU prints them, and their ids."""
    lines = world.run_qemu("snapshot", "-l", name).out.decode().splitlines()
    return lines, [line.split()[0] for line in lines[2:]]


def contents(world, name, snapshot=None):
    chosen = [] if snapshot is None else ["-l", f"snapshot.id={snapshot}"]
    world.make("convert", "-O", "raw", *chosen, name, "out.raw")
    data = (world.folder / "out.raw").read_bytes()
    (world.folder / "out.raw").unlink()
    return data


def is_clean(world, name):
    for program in (world.qemu, world.byre):
        result = program.run(["check", name], world.folder)
        world.expect(result.code == 0, f"{program.name} finds errors:\n{result.text()}")


def copy(world, *options, source="source.qcow2", code=0):
    result = world.byre.run(["convert", "--snapshots", "-O", "qcow2", *options, source, "copy.qcow2"], world.folder)
    world.expect(result.code == code, result.text())
    return result


def is_equal(world, source="source.qcow2"):
    lines, ids = listed(world, source)
    copied, _ = listed(world, "copy.qcow2")
    world.expect(copied == lines, "other snapshots:\n" + "\n".join(copied + lines))
    is_clean(world, "copy.qcow2")
    for number in [None, *ids]:
        world.expect(contents(world, source, number) == contents(world, "copy.qcow2", number),
                     f"snapshot {number} has other contents")
    world.run_qemu("compare", source, "copy.qcow2")
    return ids


def goes_on(world, ids):
    """QEMU uses the copy's snapshots."""
    wanted = {number: contents(world, "copy.qcow2", number) for number in ids}
    for number in ids:
        live(world, "copy.qcow2", [["-a", number], "write -P 9 0 700k", ["-c", f"after {number}"]])
    for number in ids:
        world.expect(contents(world, "copy.qcow2", number) == wanted[number], f"snapshot {number} has changed")
    is_clean(world, "copy.qcow2")
    for line in listed(world, "copy.qcow2")[0][2:-1]:
        name = next(name for name in (*(f"after {each}" for each in ids), "one", "three", "äöü 'x'", "five", "six")
                    if f" {name} " in line)
        world.make("snapshot", "-d", name, "copy.qcow2")
    is_clean(world, "copy.qcow2")


def make_source(world, options, steps=HISTORY):
    chosen = ["-o", options] if options else []
    world.make("create", "-q", "-f", "qcow2", *chosen, "source.qcow2", SIZE)
    live(world, "source.qcow2", steps)


def copied(source, target):
    def run(world):
        make_source(world, SOURCES[source])
        copy(world, *TARGETS[target])
        ids = is_equal(world)
        world.expect(ids == ["1", "3", "4", "5", "6"], f"{ids}")
        goes_on(world, ids)
    return Case(f"{source} to {target}", run, byre_only=True)


def compressed_source(kind, target):
    """Compressed clusters that several snapshots share."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", 2 * MIB, [(0, images.text(1500 << 10, 1)), (1600 << 10, images.noise(99 << 10, 2))])
        world.make("convert", "-c", "-O", "qcow2", "-o", f"compression_type={kind}", "disk.raw", "source.qcow2")
        live(world, "source.qcow2", [["-c", "a"], "write -P 1 0 100k", ["-c", "b"], ["-a", "a"], "write -P 2 500k 64k",
                                     ["-c", "c"], "write -z 1M 512k"])
        copy(world, *TARGETS[target])
        is_equal(world)
    return Case(f"compressed with {kind} to {target}", run, byre_only=True)


def small_refcounts(bits):
    """Many small compressed clusters share a cluster of the file, and all of them belong to all snapshots."""
    def run(world):
        (world.folder / "disk.raw").write_bytes(b"compress" * (3 * MIB))
        world.make("convert", "-O", "qcow2", "disk.raw", "source.qcow2")
        live(world, "source.qcow2", [["-c", "a"], ["-c", "b"], "write -P 1 5M 8M", ["-c", "c"], ["-a", "a"]])
        copy(world, "-c", "-o", f"refcount_bits={bits}")
        is_equal(world)
    return Case(f"compressed, refcounts of {bits}", run, byre_only=True)


def overlay(options, base="1M", base_format="qcow2", steps=HISTORY):
    """With -B what the source does not have, the copy does not have, either; without it the copy has all."""
    def run(world):
        world.make("create", "-q", "-f", base_format, "base", base)
        world.write("base", f"write -P 8 0 {base}", options=["-f", base_format])
        world.make("create", "-q", "-f", "qcow2", "-b", "base", "-F", base_format, "source.qcow2", SIZE)
        live(world, "source.qcow2", steps)
        copy(world, *options)
        is_equal(world)
        if "-B" not in options:
            world.expect("backing-filename" not in world.info("copy.qcow2"), "it has a backing file")
            return
        for number in listed(world, "source.qcow2")[1]:
            for name in ("source.qcow2", "copy.qcow2"):
                world.make("snapshot", "-a", number, name)
            # The same layer decides about each byte.
            maps = [[(row["start"], row["length"], row["depth"]) for row in rows] for rows in (
                depths(world, name) for name in ("source.qcow2", "copy.qcow2"))]
            world.expect(maps[0] == maps[1], f"snapshot {number}: {maps[0]}\n{maps[1]}")
    return Case(f"overlay {' '.join(options)} of {base_format} base of {base}", run, byre_only=True)


def depths(world, name):
    rows = []
    for row in json.loads(world.run_qemu("map", "--output=json", name).out):
        if rows and rows[-1]["depth"] == row["depth"]:
            rows[-1]["length"] += row["length"]
        else:
            rows.append(row)
    return rows


def same_disks(world):
    """Of one size, too."""
    sizes = [world.info(name)["virtual-size"] for name in ("source.qcow2", "copy.qcow2")]
    world.expect(sizes[0] == sizes[1], f"{sizes}")
    world.run_qemu("compare", "source.qcow2", "copy.qcow2")


def several_sizes(options, steps=None):
    """Snapshots of disks of other sizes: each is applied and compared, since -l shows it with the disk's size."""
    steps = steps or ["write -P 1 0 1M", ["-c", "one"], ["resize", "-q", "--shrink"], 300 << 10, "write -P 2 100k 200k",
                      ["-c", "two"], ["resize", "-q"], 3 * MIB, "write -P 3 2M 512k", ["-c", "three"], ["resize", "-q"], 2 * MIB + 512,
                      "write -P 4 2M 512", ["-c", "four"], ["-a", "one"], "write -P 5 0 64k"]

    def run(world):
        world.make("create", "-q", "-f", "qcow2", "source.qcow2", SIZE)
        size = None
        for step in steps:
            if isinstance(step, list) and step[0] == "resize":
                size = step
            elif isinstance(step, int):
                world.make("resize", "-q", "--shrink", "source.qcow2", str(step))
            else:
                live(world, "source.qcow2", [step])
        world.expect(size is not None, "nothing was resized")
        copy(world, *options)
        is_clean(world, "copy.qcow2")
        lines, ids = listed(world, "source.qcow2")
        world.expect(listed(world, "copy.qcow2")[0] == lines, "other snapshots")
        same_disks(world)
        for number in ids:
            for name in ("source.qcow2", "copy.qcow2"):
                world.make("snapshot", "-a", number, name)
            same_disks(world)
        is_clean(world, "copy.qcow2")
    return Case(f"several sizes, {' '.join(options) or 'default'}", run, byre_only=True)


def vm_states(source, options, sizes):
    """VM state as a machine leaves it: QEMU's own program writes the bytes, and the table says how many they are."""
    def run(world):
        chosen = ["-o", source] if source else []
        world.make("create", "-q", "-f", "qcow2", *chosen, "source.qcow2", SIZE)
        for number, size in enumerate(sizes):
            live(world, "source.qcow2", [f"write -P {number + 1} 0 256k"])
            padded = (size + 511) // 512 * 512
            if size > 0:
                live(world, "source.qcow2", [f"write -b -P {number + 65} 0 {padded}"])
            live(world, "source.qcow2", [["-c", f"s{number}"]])
            image = qcow2.Image(world.folder / "source.qcow2")
            image.set_vm_state_size(number, size)
            image.save()
        live(world, "source.qcow2", ["write -P 99 100k 4k"])
        copy(world, *options)
        lines, _ = listed(world, "source.qcow2")
        world.expect(listed(world, "copy.qcow2")[0] == lines, "other snapshots")
        is_clean(world, "copy.qcow2")
        world.run_qemu("compare", "source.qcow2", "copy.qcow2")
        for number, size in enumerate(sizes):
            for name in ("source.qcow2", "copy.qcow2"):
                world.make("snapshot", "-a", f"s{number}", name)
                if size > 0:
                    result = world.qemu_io.run(["-c", f"read -b -P {number + 65} 0 {size // 512 * 512}", name], world.folder)
                    world.expect(result.code == 0 and b"failed" not in result.out, result.text())
            world.run_qemu("compare", "source.qcow2", "copy.qcow2")
        is_clean(world, "copy.qcow2")
    return Case(f"VM states of {sizes} in {source or 'default'} {' '.join(options)}", run, byre_only=True)


def many(world):
    world.make("create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "source.qcow2", SIZE)
    for number in range(64):
        live(world, "source.qcow2", [f"write -P {number + 1} {number * 15}k 20k", ["-c", f"s{number}"]])
    copy(world, "-o", "cluster_size=16k")
    is_equal(world)


def shared_once(options, extra):
    """What the snapshots share is in the copy once, even where an older snapshot was applied in between."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", 8 * MIB, [(0, images.noise(6 * MIB, 1))])
        world.make("convert", "-O", "qcow2", "disk.raw", "source.qcow2")
        live(world, "source.qcow2", [["-c", "a"], ["-c", "b"], ["-c", "c"]])
        world.make("convert", "-O", "qcow2", *options, "disk.raw", "plain.qcow2")
        copy(world, *options)
        is_equal(world)
        sizes = {name: (world.folder / f"{name}.qcow2").stat().st_size for name in ("plain", "copy")}
        world.expect(sizes["copy"] <= sizes["plain"] + extra, f"{sizes}")
        live(world, "source.qcow2", ["write -P 1 0 4M", ["-c", "d"], ["-a", "a"], "write -P 2 5M 64k", ["-c", "e"],
                                     ["-d", "a"], ["-a", "d"]])
        copy(world, *options)
        is_equal(world)
        size = (world.folder / "copy.qcow2").stat().st_size
        world.expect(size <= sizes["plain"] + 4 * MIB + (64 << 10) + 3 * extra, f"{size} of {sizes}")
    return Case(f"shared once {' '.join(options)}", run, byre_only=True)


def long_name(world):
    """QEMU cuts such a name where it prints it; the copy has all of it."""
    make_source(world, "", ["write -P 1 0 64k", ["-c", "x" * 255]])
    image = qcow2.Image(world.folder / "source.qcow2")
    place = image.snapshot(0)
    image.put(place + 12, 0, 2)  # the id becomes a part of the name
    image.put(place + 14, 256, 2)
    image.save()
    copy(world)
    made = qcow2.Image(world.folder / "copy.qcow2")
    copied_place = made.snapshot(0)
    world.expect(made.number(copied_place + 14, 2) == 256, "another name")
    is_clean(world, "copy.qcow2")


def old_entries(world):
    """Snapshot table entries as old programs wrote them: without extra data."""
    make_source(world, "compat=0.10", ["write -P 1 0 64k", ["-c", "abc"], "write -P 2 0 4k"])
    image = qcow2.Image(world.folder / "source.qcow2")
    place = image.snapshot(0)
    extra = image.number(place + 36, 4)
    names = bytes(image.bytes[place + 40 + extra:place + 40 + extra + 4])
    image.put(place + 36, 0, 4)
    image.bytes[place + 40:place + 44] = names
    image.bytes[place + 44:place + 40 + extra + 8] = bytes(extra + 4)
    image.save()
    for options in ([], ["-o", "compat=0.10"], ["-o", "cluster_size=4k"]):
        copy(world, *options)
        is_equal(world)


def unknown_extra_data(world):
    make_source(world, "", ["write -P 1 0 64k", ["-c", "abc"]])
    image = qcow2.Image(world.folder / "source.qcow2")
    place = image.snapshot(0)
    extra = image.number(place + 36, 4)
    names = bytes(image.bytes[place + 40 + extra:place + 40 + extra + 4])
    image.put(place + 36, extra + 16, 4)
    image.bytes[place + 40 + extra:place + 60 + extra] = b"from the future!" + names
    image.save()
    copy(world)
    is_equal(world)
    world.expect(b"from the future!1abc" in (world.folder / "copy.qcow2").read_bytes(), "the extra data is lost")


def without_snapshots(world):
    make_source(world, "", ["write -P 1 0 64k"])
    world.make("convert", "-O", "qcow2", "source.qcow2", "plain.qcow2")
    copy(world)
    is_equal(world)
    world.expect((world.folder / "copy.qcow2").stat().st_size == (world.folder / "plain.qcow2").stat().st_size, "size")


def piped(world):
    make_source(world, "")
    source = (world.folder / "source.qcow2").read_bytes()
    result = world.byre.run(["convert", "--snapshots", "-O", "qcow2", "-", "-"], world.folder, send=source)
    world.expect(result.code == 0, result.text())
    (world.folder / "copy.qcow2").write_bytes(result.out)
    is_equal(world)


def as_json(world):
    make_source(world, "")
    copy(world, "--image-opts", source="driver=qcow2,file.driver=file,file.filename=source.qcow2")
    is_equal(world)
    copy(world, "-U", source='json:{"driver":"qcow2","file":{"driver":"file","filename":"source.qcow2"}}')
    is_equal(world)


def progress(world):
    """It never goes back, and ends with everything."""
    make_source(world, "")
    result = copy(world, "--progress=json")
    done = [json.loads(line) for line in result.err.decode().splitlines()]
    values = [row.get("done", row.get("offset")) for row in done]
    world.expect(values == sorted(values) and len(values) > 1, result.text())
    text = world.byre.run(["convert", "-p", "--snapshots", "-O", "qcow2", "source.qcow2", "copy.qcow2"], world.folder)
    world.expect(text.code == 0 and b"(100.00/100%)" in text.out, text.text())


def cases():
    found = [copied(source, "default") for source in SOURCES]
    found += [copied("default", target) for target in TARGETS if target != "default"]
    found += [copied(source, target) for source, target in (
        ("clusters of 512", "clusters of 2M"), ("clusters of 2M", "clusters of 512"), ("clusters of 512", "compressed"),
        ("extended", "clusters of 1k"), ("extended, clusters of 16k", "extended"), ("version 2", "extended"),
        ("version 2, clusters of 1k", "version 2"), ("clusters of 4k", "version 2"), ("metadata", "compressed, zstd"),
        ("lazy", "compressed, clusters of 4k"))]
    found += [compressed_source(kind, target) for kind in ("zlib", "zstd")
              for target in ("default", "clusters of 1k", "compressed", "compressed, zstd", "extended")]
    found += [small_refcounts(bits) for bits in (4, 8, 16)]
    found += [overlay([]), overlay(["-B", "base", "-F", "qcow2"]), overlay(["-c"]), overlay([], "300k"),
              overlay(["-B", "base", "-F", "qcow2"], "320k"), overlay(["-B", "base", "-F", "raw"], "3M", "raw"),
              overlay(["-B", "base", "-F", "qcow2", "-c"]), overlay([], "512k", "raw")]
    found += [several_sizes(options) for options in (
        [], ["-o", "cluster_size=512"], ["-o", "cluster_size=2M"], ["-c"], ["-o", "extended_l2=on"])]
    found += [vm_states("", [], [300 << 10]), vm_states("", [], [4096, 0, 12345]),
              vm_states("cluster_size=4k", ["-o", "cluster_size=64k"], [512, 2 << 20, 100]),
              vm_states("extended_l2=on", ["-o", "cluster_size=512"], [70000, 200000]),
              vm_states("compat=0.10", ["-o", "compat=0.10"], [5000, 6000]),
              vm_states("", ["-c"], [300 << 10, 1]), vm_states("cluster_size=512", ["-o", "extended_l2=on"], [3 << 20])]
    found += [shared_once([], 20 << 16), shared_once(["-o", "cluster_size=4k"], 20 << 16), shared_once(["-c"], 20 << 16)]
    found += [Case(name, run, byre_only=True) for name, run in (
        ("64 snapshots", many), ("a long name", long_name), ("old entries", old_entries),
        ("unknown extra data", unknown_extra_data), ("no snapshots", without_snapshots), ("pipes", piped),
        ("lists of options", as_json), ("progress", progress))]
    return found
