# SPDX-License-Identifier: Apache-2.0
"""QEMU writes images of every layout; byre shows, checks, maps, compares and converts them in the same way."""
import images
from case import Case, Failure, digest
from images import KIB, MIB

CACHES = ("none", "writeback", "writethrough", "directsync", "unsafe")


def every_command(world, name, chosen=None):
    """Runs every reading command, on the very same file."""
    for arguments in (["info", name], ["info", "--output=json", name], ["info", "--backing-chain", name],
                      ["info", "--backing-chain", "--output=json", name], ["check", name],
                      ["check", "--output=json", name], ["map", "--output=json", name], ["map", name],
                      ["measure", "-O", "qcow2", name], ["measure", "--output=json", "-O", "qcow2", name],
                      ["measure", "-O", "raw", name]):
        world.compare_on_same_files(*arguments)
    world.make("convert", "-O", "raw", name, "wanted.raw")
    converted_alike(world, name, [])
    world.compare_on_same_files("compare", name, "wanted.raw")
    world.compare_on_same_files("compare", "-s", name, "wanted.raw")


def converted_alike(world, name, arguments):
    """The subject's conversion to raw has the bytes of QEMU's, which is wanted.raw."""
    world.run_subject("convert", *arguments, "-O", "raw", name, "ours.raw")
    mine, wanted = digest(world.folder / "ours.raw"), digest(world.folder / "wanted.raw")
    world.expect(mine == wanted, f"convert to raw gives {mine}, QEMU {wanted}")
    (world.folder / "ours.raw").unlink()


def make(world, chosen, name="image.qcow2", extra=(), size=None, seed=1):
    size = images.disk_size(chosen.cluster_size) if size is None else size
    world.make("create", "-f", "qcow2", *chosen.arguments(), *extra, name, str(size))
    images.fill_image(world, name, chosen, seed)


def of_layout(chosen):
    def run(world):
        make(world, chosen)
        every_command(world, "image.qcow2", chosen)
    return Case(f"{chosen}", run)


def over_backing(chosen, kind, clusters):
    """An overlay with the usual contents over a backing file of `clusters` clusters."""
    def run(world):
        cluster = chosen.cluster_size
        size = int(clusters * cluster) // 512 * 512
        if kind == "raw":
            images.raw_disk(world, "base", cluster, seed=2, size=size)
        else:
            world.make("create", "-f", "qcow2", "-o", f"cluster_size={cluster}", "base", str(size))
            for offset, data in images.fill_bytes(cluster, 2):
                if offset + len(data) <= size:
                    world.write("base", f"write -P {1 + offset // 512 % 200} {offset} {len(data)}")
        make(world, chosen, extra=["-b", "base", "-F", kind])
        world.write("image.qcow2", f"write -P 9 {cluster * 15} {cluster // 2}",
                    f"write -z {20 * cluster} {cluster}")
        every_command(world, "image.qcow2")
    return Case(f"{chosen} over {kind} of {clusters} clusters", run)


def chain(depth, relative):
    """A chain of `depth` overlays, each with data of its own, names relative to their directories."""
    def run(world):
        folder = world.folder / "deep" / "er" if relative else world.folder
        folder.mkdir(parents=True, exist_ok=True)
        below = "../base.raw" if relative else "base.raw"
        images.write_raw(folder / below, 2 * MIB, [(0, images.text(MIB, 1))])
        kind = "raw"
        for level in range(depth):
            name = f"{level}.qcow2"
            world.make("create", "-f", "qcow2", "-b", below, "-F", kind, name,
                       str(2 * MIB + level * 64 * KIB), folder=folder)
            world.write(name, f"write -P {level + 1} {level * 128 * KIB} 64k",
                        f"write -z {(level * 3 + 1) * 64 * KIB} 64k", folder=folder)
            below, kind = name, "qcow2"
        every_command(world, ("deep/er/" if relative else "") + below)
    return Case(f"chain of {depth}" + (", names relative" if relative else ""), run)


def with_arguments(name, arguments, chosen=images.layout()):
    """convert to raw with options that change how, not what."""
    def run(world):
        make(world, chosen)
        world.make("convert", "-O", "raw", "image.qcow2", "wanted.raw")
        converted_alike(world, "image.qcow2", arguments)
    return Case(name, run)


def environment_case(backend, chosen):
    """The same bytes with every way of doing I/O."""
    def run(world):
        make(world, chosen)
        world.make("convert", "-O", "raw", "image.qcow2", "wanted.raw")
        for cache in ("writeback", "none"):
            result = world.subject.__class__(world.subject.path, world.subject.name,
                                             (("BYRE_IO", backend),)).run(
                ["convert", "-T", cache, "-t", cache, "-O", "raw", "image.qcow2", "ours.raw"], world.folder)
            if result.code != 0:
                raise Failure(result.text())
            world.expect(digest(world.folder / "ours.raw") == digest(world.folder / "wanted.raw"),
                         f"other bytes with BYRE_IO={backend}, cache {cache}")
            (world.folder / "ours.raw").unlink()
    return Case(f"BYRE_IO={backend} {chosen}", run, byre_only=True)


def probe_case(name, head, size):
    """Formats are detected by content, never by name."""
    def run(world):
        images.write_raw(world.folder / "thing", size, [(0, head)])
        for arguments in (["info", "thing"], ["info", "--output=json", "thing"], ["check", "thing"],
                          ["map", "--output=json", "thing"], ["map", "thing"], ["measure", "-O", "qcow2", "thing"],
                          ["info", "-f", "raw", "thing"], ["info", "-f", "qcow2", "thing"],
                          ["compare", "thing", "thing"], ["compare", "-f", "raw", "-F", "raw", "thing", "thing"]):
            world.compare_on_same_files(*arguments)
    return Case(f"probe of {name}", run)


PROBES = {
    "nothing": (b"", 0), "one byte": (b"\0", 1), "a sector": (b"\x55" * 512, 512), "511 bytes": (b"a" * 511, 511),
    "513 bytes": (b"a" * 513, 513), "magic alone": (b"QFI\xfb", 4), "magic in a sector": (b"QFI\xfb", 512),
    "magic with version 1": (b"QFI\xfb\0\0\0\1", 4096), "magic with version 2": (b"QFI\xfb\0\0\0\2", 4096),
    "magic with version 3": (b"QFI\xfb\0\0\0\3", 4096), "magic with version 4": (b"QFI\xfb\0\0\0\4", 4096),
    "a partition table": (bytes(510) + b"\x55\xaa", MIB), "data after a hole": (b"", 3 * MIB + 17),
}


def raw_map(name, size, parts):
    def run(world):
        images.write_raw(world.folder / "disk.raw", size, parts)
        for arguments in (["map", "-f", "raw", "disk.raw"], ["map", "-f", "raw", "--output=json", "disk.raw"],
                          ["measure", "-f", "raw", "-O", "qcow2", "disk.raw"],
                          ["measure", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", "disk.raw"],
                          ["info", "-f", "raw", "disk.raw"]):
            world.compare_on_same_files(*arguments)
    return Case(f"raw {name}", run)


RAW = {
    "all hole": (4 * MIB, []), "all data": (MIB, [(0, b"a" * MIB)]),
    "holes and data": (8 * MIB, [(0, b"a" * 4096), (MIB, b"b" * 8192), (5 * MIB, b"c" * MIB)]),
    "unaligned": (MIB + 700, [(5000, b"a" * 3000), (MIB, b"b" * 700)]),
    "zeroes written": (MIB, [(0, bytes(256 * KIB)), (512 * KIB, b"x" * 4096)]),
    "ends in data": (MIB + 1, [(MIB - 4096, b"z" * 4097)]),
}


def map_window(start, length):
    def run(world):
        make(world, images.layout())
        window = ([f"--start-offset={start}"] if start is not None else []) + \
            ([f"--max-length={length}"] if length is not None else [])
        for output in ("human", "json"):
            world.compare_on_same_files("map", f"--output={output}", *window, "image.qcow2")
    return Case(f"map from {start}, at most {length}", run)


def map_without_compressed(chosen):
    """The text of map needs plain clusters."""
    def run(world):
        world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2",
                   str(images.disk_size(chosen.cluster_size)))
        images.fill_image(world, "image.qcow2", chosen, compressed=False)
        for output in ("human", "json"):
            world.compare_on_same_files("map", f"--output={output}", "image.qcow2")
        world.compare_on_same_files("measure", "-O", "qcow2", "-o", "cluster_size=4k", "image.qcow2")
    return Case(f"map without compressed clusters, {chosen}", run)


def cases():
    for chosen in images.all_layouts():
        yield of_layout(chosen)
    for size in (512, 4096, 64 * KIB, MIB):
        for clusters in (3, 5.5, 26.5, 40):
            for kind in ("raw", "qcow2"):
                yield over_backing(images.layout(cluster_size=size), kind, clusters)
    for clusters in (3, 19.5, 40):
        for kind in ("raw", "qcow2"):
            yield over_backing(images.layout(extended_l2="on", cluster_size=32 * KIB), kind, clusters)
            yield over_backing(images.layout(compat="0.10"), kind, clusters)
            yield over_backing(images.layout(data_file="image.data"), kind, clusters)
    for depth in (1, 2, 3, 5, 12):
        yield chain(depth, relative=False)
        yield chain(depth, relative=True)
    for cache in CACHES:
        yield with_arguments(f"-T {cache}", ["-T", cache])
        yield with_arguments(f"-t {cache}", ["-t", cache])
    for count in (1, 2, 16):
        yield with_arguments(f"-m {count}", ["-m", str(count)])
        yield with_arguments(f"-m {count} -W", ["-m", str(count), "-W"])
    for sparse in ("0", "512", "4k", "1M"):
        yield with_arguments(f"-S {sparse}", ["-S", sparse])
    yield with_arguments("-U", ["-U"])
    for backend in ("threads", "uring"):
        for chosen in (images.layout(), images.layout(cluster_size=512), images.layout(cluster_size=2 * MIB),
                       images.layout(compression_type="zstd"), images.layout(data_file="image.data")):
            yield environment_case(backend, chosen)
    for name, (head, size) in PROBES.items():
        yield probe_case(name, head, size)
    for name, (size, parts) in RAW.items():
        yield raw_map(name, size, parts)
    for start, length in ((0, None), (None, 65536), (65536, 65536), (65537, 1), (100000, 300000), (0, 0),
                          (5 * MIB, None), (1 << 40, None), ("1M", "64k"), (None, 1 << 62)):
        yield map_window(start, length)
    for chosen in (images.layout(), images.layout(cluster_size=512), images.layout(extended_l2="on"),
                   images.layout(data_file="image.data"), images.layout(data_file="image.data", data_file_raw="on"),
                   images.layout(preallocation="metadata"), images.layout(compat="0.10", cluster_size=4096)):
        yield map_without_compressed(chosen)
