# SPDX-License-Identifier: Apache-2.0
"""byre converts into every layout: QEMU finds the result clean, equal to the source, and described like the result of
its own conversion."""
import images
from case import Case, digest
from images import KIB, MIB


def convert_and_judge(world, arguments, sources, target="image.qcow2", compare_with=None, check=True):
    """Both convert the same sources; QEMU judges the subject's target."""
    world.copy_to_sides()
    world.compare_on_copies("convert", *arguments, *sources, target)
    if check:
        world.run_qemu("check", target, folder=world.a)
    if compare_with:
        world.run_qemu("compare", compare_with, target, folder=world.a)
    mine, wanted = world.info(target, world.a), world.info(target, world.b)
    world.expect(mine == wanted, f"info differs\nsubject: {mine}\nQEMU: {wanted}")
    not_much_larger(world, target, wanted["cluster-size"])
    for folder in (world.a, world.b):
        world.compare_on_same_files("info", target, folder=folder)
        world.compare_on_same_files("check", "--output=json", target, folder=folder)
        world.compare_on_same_files("map", "--output=json", target, folder=folder)


def not_much_larger(world, target, cluster_size):
    """Zeroes stay zeroes and compressed stays compressed: both files take about the same space."""
    mine, wanted = (side.joinpath(target).stat() for side in (world.a, world.b))
    slack = wanted.st_blocks * 512 // 20 + 256 * KIB + cluster_size
    world.expect(mine.st_blocks * 512 <= wanted.st_blocks * 512 + slack,
                 f"takes {mine.st_blocks * 512} bytes of the disk; QEMU's {wanted.st_blocks * 512}")
    world.expect(mine.st_size <= wanted.st_size + slack,
                 f"is {mine.st_size} bytes long; QEMU's {wanted.st_size}")


def from_raw(chosen, extra=(), name=""):
    """A raw disk into a layout. A target with a raw data file can also be read without byre or QEMU."""
    def run(world):
        images.raw_disk(world, "disk.raw", chosen.cluster_size)
        convert_and_judge(world, ["-f", "raw", "-O", "qcow2", *chosen.arguments(), *extra], ["disk.raw"],
                          compare_with="disk.raw")
        if chosen.get("data_file_raw") == "on":
            disk, data = (world.a / name for name in ("disk.raw", "image.data"))
            stored, wanted = data.read_bytes(), disk.read_bytes()
            world.expect(stored[:len(wanted)] == wanted and not stored[len(wanted):].strip(b"\0"),
                         "the raw data file is not the disk")
    return Case(f"raw to {chosen}{name}", run)


def from_qcow2(source, target, extra=()):
    def run(world):
        world.make("create", "-f", "qcow2", *source.arguments(), "source.qcow2",
                   str(images.disk_size(source.cluster_size)))
        images.fill_image(world, "source.qcow2", source)
        convert_and_judge(world, ["-O", "qcow2", *target.arguments(), *extra], ["source.qcow2"],
                          compare_with="source.qcow2")
    return Case(f"{source} to {target}{' ' + ' '.join(extra) if extra else ''}", run)


def over_backing(target, extra=()):
    """-B: what equals the backing file is not copied."""
    def run(world):
        cluster = target.cluster_size
        base = images.raw_disk(world, "base.raw", cluster, seed=2, size=20 * cluster)
        images.write_raw(world.folder / "disk.raw", images.disk_size(cluster),
                         [(0, base.read_bytes())] + images.fill_bytes(cluster, 1)[3:6])
        world.make("create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "over.qcow2",
                   str(images.disk_size(cluster)))
        for offset, data in images.fill_bytes(cluster, 1)[3:6]:
            world.write("over.qcow2", f"write -P {1 + offset // 512 % 200} {offset} {len(data)}")
        convert_and_judge(world, ["-O", "qcow2", *target.arguments(), "-B", "base.raw", "-F", "raw", *extra],
                          ["over.qcow2"], compare_with="over.qcow2")
    return Case(f"{target} on a backing file {' '.join(extra)}", run)


def joined(sizes, target):
    """Several concatenated sources."""
    def run(world):
        names = []
        for number, size in enumerate(sizes):
            images.write_raw(world.folder / f"part{number}.raw", size, [(0, images.text(size // 2 + 1, number))])
            names.append(f"part{number}.raw")
        convert_and_judge(world, ["-f", "raw", "-O", "qcow2", *target.arguments()], names)
        world.run_qemu("compare", "a/image.qcow2", "b/image.qcow2")
    return Case(f"{len(sizes)} sources of {','.join(map(str, sizes))} to {target}", run)


def to_raw(name, size, parts, arguments):
    """raw to raw keeps bytes and holes."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", size, parts)
        world.copy_to_sides()
        world.compare_on_copies("convert", "-f", "raw", "-O", "raw", *arguments, "disk.raw", "image.raw")
        world.expect(digest(world.a / "image.raw") == digest(world.b / "image.raw"), "bytes differ")
        got, need = ((side / "image.raw").stat().st_blocks for side in (world.a, world.b))
        world.expect(got <= need + 64, f"takes {got} blocks; QEMU's {need}")
    return Case(f"raw to raw, {name} {' '.join(arguments)}", run)


def onto(name, target_options, arguments, source_size=MIB, target_size=2 * MIB, zero=False):
    """-n: into an existing image, with contents that must be replaced, or that is claimed to be zero."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", source_size, images.fill_bytes(32 * KIB, 3)[:6])
        world.make("create", "-f", "qcow2", *target_options, "image.qcow2", str(target_size))
        if not zero:
            world.write("image.qcow2", "write -P 99 0 256k", "write -P 98 512k 300k", "write -P 97 1900k 64k")
        world.copy_to_sides()
        world.compare_on_copies("convert", "-f", "raw", "-O", "qcow2", "-n", *arguments, "disk.raw", "image.qcow2")
        world.run_qemu("check", "image.qcow2", folder=world.a)
        world.run_qemu("compare", "a/image.qcow2", "b/image.qcow2")
    return Case(f"onto {name} {' '.join(arguments)}", run)


def onto_compressed(name, target_options):
    """-n -c onto allocated clusters. QEMU refuses these; byre's result is that of QEMU without -c."""
    def run(world):
        images.write_raw(world.folder / "disk.raw", MIB, images.fill_bytes(32 * KIB, 3)[:6])
        world.make("create", "-f", "qcow2", *target_options, "image.qcow2", str(2 * MIB))
        world.write("image.qcow2", "write -P 99 0 256k", "write -P 98 512k 300k", "write -P 97 1900k 64k")
        world.copy_to_sides()
        arguments = ["convert", "-f", "raw", "-O", "qcow2", "-n"]
        world.run_subject(*arguments, "-c", "disk.raw", "image.qcow2", folder=world.a)
        world.run_qemu(*arguments, "disk.raw", "image.qcow2", folder=world.b)
        world.run_qemu("check", "image.qcow2", folder=world.a)
        world.run_qemu("compare", "a/image.qcow2", "b/image.qcow2")
    return Case(f"compressed onto {name}", run, byre_only=True)


def round_trip(level, compression):
    """What byre compresses at any level, QEMU reads."""
    def run(world):
        cluster = 64 * KIB
        images.write_raw(world.folder / "disk.raw", 5 * MIB,
                         [(0, images.text(MIB, 1)), (MIB, images.noise(300000, 2)),
                          (2 * MIB, images.text(70000, 3) * 20), (4 * MIB, bytes(range(256)) * 2048)])
        for size in (512, 4096, cluster, 2 * MIB):
            world.run_as_byre("convert", "-f", "raw", "-O", "qcow2", "-c", "--compress-level", str(level), "-o",
                               f"compression_type={compression},cluster_size={size}", "disk.raw", "image.qcow2")
            world.run_qemu("check", "image.qcow2")
            world.run_qemu("compare", "disk.raw", "image.qcow2")
            world.compare_on_same_files("compare", "disk.raw", "image.qcow2")
            info = world.info("image.qcow2")
            world.expect(info["format-specific"]["data"]["compression-type"] == compression, str(info))
    return Case(f"{compression} level {level}", run, byre_only=True)


def environment_case(backend, chosen, extra):
    def run(world):
        images.raw_disk(world, "disk.raw", chosen.cluster_size)
        program = world.subject.__class__(world.subject.path, world.subject.name, (("BYRE_IO", backend),))
        for cache in ("unsafe", "none", "directsync"):
            result = program.run(["convert", "-T", "none", "-t", cache, "-f", "raw", "-O", "qcow2",
                                  *chosen.arguments(), *extra, "disk.raw", "image.qcow2"], world.folder)
            world.expect(result.code == 0, result.text())
            world.run_qemu("check", "image.qcow2")
            world.run_qemu("compare", "disk.raw", "image.qcow2")
    return Case(f"BYRE_IO={backend} {chosen} {' '.join(extra)}", run, byre_only=True)


def cases():
    plain, compressed = images.all_layouts(), images.cluster_layouts() + images.compression_layouts() + \
        images.refcount_layouts() + images.extended_layouts() + images.lazy_layouts()
    for chosen in plain:
        yield from_raw(chosen)
    for chosen in dict.fromkeys(compressed):
        yield from_raw(chosen, ["-c"], " compressed")
    for extra in (["-m", "1"], ["-m", "16"], ["-W"], ["-m", "16", "-W"], ["-S", "0"], ["-S", "512"],
                  ["-S", "64k"], ["-t", "none"], ["-t", "writethrough"], ["-T", "none"], ["-c", "-m", "1"],
                  ["-c", "-S", "64k"], ["-C"], ["-U"], ["-r", "1G"], ["--salvage"]):
        yield from_raw(images.layout(), extra, " " + " ".join(extra))
        yield from_raw(images.layout(cluster_size=4096, refcount_bits=1), extra, " " + " ".join(extra))
    for source in (images.layout(), images.layout(cluster_size=512), images.layout(extended_l2="on"),
                   images.layout(compression_type="zstd"), images.layout(compat="0.10", cluster_size=4096)):
        for target in (images.layout(), images.layout(cluster_size=4096), images.layout(cluster_size=2 * MIB),
                       images.layout(extended_l2="on"), images.layout(data_file="image.data")):
            yield from_qcow2(source, target)
        yield from_qcow2(source, images.layout(compression_type="zstd"), ("-c",))
    for target in (images.layout(), images.layout(cluster_size=512), images.layout(cluster_size=MIB),
                   images.layout(extended_l2="on"), images.layout(compat="0.10")):
        yield over_backing(target)
        yield over_backing(target, ("-c",))
        yield over_backing(target, ("-S", "0"))
    for sizes in ((512, 512), (65536, 65536, 65536), (100 * 512, 300 * 512, 7 * 512), (MIB, 512, 3 * MIB + 1024)):
        yield joined(sizes, images.layout())
        yield joined(sizes, images.layout(cluster_size=4096))
    raw_parts = {"a hole": (4 * MIB, []), "all data": (MIB, [(0, images.noise(MIB, 5))]),
                 "odd length": (MIB + 77, [(5000, b"a" * 9999), (MIB, b"b" * 77)]),
                 "zeroes in data": (2 * MIB, [(0, images.text(MIB, 1)), (MIB // 2, bytes(200000))])}
    for name, (size, parts) in raw_parts.items():
        for arguments in ([], ["-S", "0"], ["-S", "64k"], ["-m", "1"], ["-W"], ["-C"], ["-t", "none", "-T", "none"]):
            yield to_raw(name, size, parts, arguments)
    yield onto_compressed("an image with data", [])
    yield onto_compressed("small clusters", ["-o", "cluster_size=512"])
    yield onto_compressed("version 2", ["-o", "compat=0.10"])
    yield onto_compressed("extended L2", ["-o", "extended_l2=on"])
    for arguments in ([], ["-W"], ["-m", "1"], ["-S", "0"]):
        yield onto("an image with data", [], arguments)
        yield onto("small clusters", ["-o", "cluster_size=512"], arguments)
        yield onto("version 2", ["-o", "compat=0.10"], arguments)
        yield onto("extended L2", ["-o", "extended_l2=on"], arguments)
    yield onto("an empty image", [], ["--target-is-zero"], zero=True)
    yield onto("a data file", ["-o", "data_file=image.data"], [])
    for compression in ("zlib", "zstd"):
        for level in range(1, 10):
            yield round_trip(level, compression)
    for backend in ("threads", "uring"):
        for chosen in (images.layout(), images.layout(cluster_size=4096), images.layout(cluster_size=2 * MIB),
                       images.layout(data_file="image.data")):
            yield environment_case(backend, chosen, [])
        yield environment_case(backend, images.layout(), ["-c"])
