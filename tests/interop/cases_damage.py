# SPDX-License-Identifier: Apache-2.0
"""Images with one kind of damage each: every command that reads reports what QEMU reports; nothing crashes, hangs or
uses unbounded memory."""
import images
import qcow2_bytes as qcow2
from case import Case, digest
from images import GIB, KIB, MIB

MEMORY_MAX = 2 * GIB
COMMANDS = (["info"], ["info", "--output=json"], ["check"], ["check", "--output=json"], ["map", "--output=json"],
            ["map"], ["measure", "-O", "qcow2"], ["convert", "-O", "raw"], ["convert", "-O", "raw", "-l", "s"])

BASES = {
    "default": images.layout(),
    "small": images.layout(cluster_size=4096),
    "v2": images.layout(compat="0.10"),
    "extended": images.layout(extended_l2="on", cluster_size=16 * KIB),
    "refcount64": images.layout(refcount_bits=64, cluster_size=512),
    "datafile": images.layout(data_file="image.data"),
    "zstd": images.layout(compression_type="zstd"),
}


def make(world, chosen):
    """About 26 clusters: runs of data, zero clusters, compressed ones, and a snapshot."""
    size = images.disk_size(chosen.cluster_size)
    world.make("create", "-f", "qcow2", *chosen.arguments(), "image.qcow2", str(size))
    images.fill_image(world, "image.qcow2", chosen)
    if not chosen.has_data_file:
        world.make("snapshot", "-c", "s", "image.qcow2")
        world.write("image.qcow2", f"write -P 55 0 {chosen.cluster_size}")


def of_damage(base, name, damage):
    chosen = BASES[base]

    def run(world):
        make(world, chosen)
        image = qcow2.Image(world.folder / "image.qcow2")
        damage(image)
        image.save()
        before = digest(world.folder / "image.qcow2")
        look(world)
        world.expect(digest(world.folder / "image.qcow2") == before, "reading changed the image")
    return Case(f"{base}: {name}", run)


def look(world):
    for command in COMMANDS:
        target = ["out.raw"] if command[0] == "convert" else []
        world.compare_on_same_files(*command, "image.qcow2", *target, memory=MEMORY_MAX, seconds=30)
        (world.folder / "out.raw").unlink(missing_ok=True)


def header(name, value):
    def damage(image):
        image.set(name, value(image) if callable(value) else value)
    return damage


def at(place, value, size=8):
    def damage(image):
        where = place(image)
        image.put(where, value(image, image.number(where, size)) if callable(value) else value, size)
    return damage


def both(*damages):
    def damage(image):
        for one in damages:
            one(image)
    return damage


def cut(size):
    def damage(image):
        length = size(image) if callable(size) else size
        del image.bytes[length:]
    return damage


def l2(guest_cluster, value):
    return at(lambda image: image.l2_entry(guest_cluster), value)


def l1(index, value):
    return at(lambda image: image.l1_entry(index), value)


def refcount(cluster, value):
    return at(lambda image: image.refcount_entry(cluster), value, size=2)


COPIED = 1 << 63
COMPRESSED = 1 << 62


def end(image):
    return len(image.bytes) // image.cluster_size * image.cluster_size


HEADER_DAMAGE = {
    "magic gone": header("magic", 0),
    "version 0": header("version", 0), "version 1": header("version", 1), "version 4": header("version", 4),
    "version all ones": header("version", 0xFFFFFFFF),
    "cluster bits 0": header("cluster_bits", 0), "cluster bits 8": header("cluster_bits", 8),
    "cluster bits 22": header("cluster_bits", 22), "cluster bits 63": header("cluster_bits", 63),
    "cluster bits all ones": header("cluster_bits", 0xFFFFFFFF),
    "cluster bits one more": header("cluster_bits", lambda image: image.get("cluster_bits") + 1),
    "cluster bits one less": header("cluster_bits", lambda image: image.get("cluster_bits") - 1),
    "size 0": header("size", 0), "size odd": header("size", 1000), "size 1": header("size", 1),
    "size huge": header("size", 1 << 62), "size all ones": header("size", (1 << 64) - 1),
    "size larger than L1": header("size", lambda image: image.get("size") + 64 * image.cluster_size ** 2),
    "size smaller": header("size", lambda image: image.get("size") // 2),
    "encrypted by 1": header("crypt_method", 1), "encrypted by 2": header("crypt_method", 2),
    "encrypted by 3": header("crypt_method", 3),
    "L1 size 0": header("l1_size", 0), "L1 size huge": header("l1_size", 0x7FFFFFFF),
    "L1 size all ones": header("l1_size", 0xFFFFFFFF), "L1 size one more": header("l1_size", 2),
    "L1 size 8K entries": header("l1_size", 8 << 10), "L1 size 4M + 1": header("l1_size", (4 << 20) + 1),
    "L1 table nowhere": header("l1_table_offset", 0), "L1 table unaligned": header("l1_table_offset", 513),
    "L1 table on the header": header("l1_table_offset", lambda image: 0 * image.cluster_size),
    "L1 table at the end": header("l1_table_offset", end), "L1 table far away": header("l1_table_offset", 1 << 50),
    "L1 table all ones": header("l1_table_offset", (1 << 64) - 1),
    "L1 table on the refcount table": header("l1_table_offset", lambda image: image.get("refcount_table_offset")),
    "refcount table nowhere": header("refcount_table_offset", 0),
    "refcount table unaligned": header("refcount_table_offset", 100),
    "refcount table at the end": header("refcount_table_offset", end),
    "refcount table far away": header("refcount_table_offset", 1 << 55),
    "refcount table all ones": header("refcount_table_offset", (1 << 64) - 512),
    "refcount table of 0 clusters": header("refcount_table_clusters", 0),
    "refcount table of 2 clusters": header("refcount_table_clusters", 2),
    "refcount table huge": header("refcount_table_clusters", 0x00FFFFFF),
    "refcount table all clusters": header("refcount_table_clusters", 0xFFFFFFFF),
    "refcount order 7": header("refcount_order", 7), "refcount order all ones": header("refcount_order", 0xFFFFFFFF),
    "refcount order 3": header("refcount_order", 3), "refcount order 0": header("refcount_order", 0),
    "header length 0": header("header_length", 0), "header length 72": header("header_length", 72),
    "header length 103": header("header_length", 103), "header length 104": header("header_length", 104),
    "header length 105": header("header_length", 105), "header length 4096": header("header_length", 4096),
    "header length huge": header("header_length", 0x7FFFFFF8),
    "header length a cluster": header("header_length", lambda image: image.cluster_size),
    "compression type 2": header("compression_type", 2), "compression type 255": header("compression_type", 255),
    "compression type 1 without its bit": header("compression_type", 1),
    "compression bit without its type": lambda image: image.set_feature("incompatible", 3),
    "65537 snapshots": header("nb_snapshots", 65537), "2 snapshots": header("nb_snapshots", 2),
    "snapshots all ones": header("nb_snapshots", 0xFFFFFFFF), "no snapshots": header("nb_snapshots", 0),
    "snapshots unaligned": header("snapshots_offset", 100), "snapshots far away": header("snapshots_offset", 1 << 56),
    "snapshots on the header": header("snapshots_offset", 0),
    "backing file of 1024 bytes": both(header("backing_file_offset", 200), header("backing_file_size", 1024)),
    "backing file of 1023 bytes": both(header("backing_file_offset", 200), header("backing_file_size", 1023)),
    "backing file far away": both(header("backing_file_offset", 1 << 40), header("backing_file_size", 10)),
    "backing file of no bytes": both(header("backing_file_offset", 200), header("backing_file_size", 0)),
    "backing file name of zeroes": both(header("backing_file_offset", 400), header("backing_file_size", 4)),
    "backing file in the header": both(header("backing_file_offset", 8), header("backing_file_size", 4)),
    "dirty": lambda image: image.set_feature("incompatible", 0),
    "corrupt": lambda image: image.set_feature("incompatible", 1),
    "extended L2 claimed": lambda image: image.set_feature("incompatible", 4),
    "raw data file without data file": lambda image: image.set_feature("autoclear", 1),
    "bitmaps claimed": lambda image: image.set_feature("autoclear", 0),
}


def extension(kind, data):
    return lambda image: image.add_extension(kind, data)


def extension_length(value):
    def damage(image):
        found = image.extensions()
        place = found[0][0] if found else image.extensions_start()
        image.put(place + 4, value, 4)
        if not found:
            image.put(place, 0x12345678, 4)
    return damage


EXTENSION_DAMAGE = {
    "unknown extension": extension(0x12345678, b"whatever"),
    "unknown extension of no bytes": extension(0x12345678, b""),
    "extension too long": extension_length(0x7FFFFFFF), "extension of all ones": extension_length(0xFFFFFFFF),
    "extension to the end of the cluster": extension_length(4096 - 120), "extension off by one": extension_length(1),
    "backing format of 16 bytes": extension(0xE2792ACA, b"a" * 16),
    "backing format qcow2 without a backing file": extension(0xE2792ACA, b"qcow2"),
    "feature table odd": extension(0x6803F857, b"x" * 50), "feature table empty": extension(0x6803F857, b""),
    "feature table of unended names": extension(0x6803F857, (b"\0\5" + b"N" * 46) * 3),
    "feature table and an unknown bit": both(extension(0x6803F857, b"\0\7" + b"a new thing".ljust(46, b"\0")),
                                             lambda image: image.set_feature("incompatible", 7)),
    "bitmaps of a wrong length": extension(0x23852875, b"\0" * 23),
    "bitmaps of none": both(extension(0x23852875, b"\0" * 24), lambda image: image.set_feature("autoclear", 0)),
    "bitmaps far away": both(extension(0x23852875, b"\0\0\0\1" + b"\0" * 4 + b"\0" * 7 + b"\x40" + b"\x7f" * 7 + b"\0"),
                             lambda image: image.set_feature("autoclear", 0)),
    "bitmaps without the autoclear bit": extension(0x23852875, b"\0\0\0\1" + b"\0" * 20),
    "encryption header twice": both(extension(0x0537BE77, b"\0" * 16), extension(0x0537BE77, b"\0" * 16)),
    "data file name without its bit": extension(0x44415441, b"other.data"),
    "data file bit without a name": lambda image: image.set_feature("incompatible", 2),
}

MAPPING_DAMAGE = {
    "L1 entry unaligned": l1(0, lambda image, old: old + 512 if image.cluster_size > 512 else old + 8),
    "L1 entry reserved bits": l1(0, lambda image, old: old | 0x7F),
    "L1 entry high bits": l1(0, lambda image, old: old | 1 << 57),
    "L1 entry past the end": l1(0, lambda image, old: end(image) + 3 * image.cluster_size | COPIED),
    "L1 entry far away": l1(0, 0x00FFFFFFFFFF0000 | COPIED),
    "L1 entry on the header": l1(0, lambda image, old: image.cluster_size * 0 | COPIED),
    "L1 entry on the L1 table": l1(0, lambda image, old: image.get("l1_table_offset") | COPIED),
    "L1 entry on a refcount block": l1(0, lambda image, old: image.refcount_block(0) | COPIED),
    "L1 entry without copied": l1(0, lambda image, old: old & ~COPIED),
    "L1 entry gone": l1(0, 0),
    "L2 entry unaligned": l2(0, lambda image, old: old + 512 if image.cluster_size > 512 else old + 8),
    "L2 entry reserved bits": l2(1, lambda image, old: old | 0xFE),
    "L2 entry high bits": l2(1, lambda image, old: old | 1 << 58),
    "L2 entry past the end": l2(1, lambda image, old: end(image) + image.cluster_size | COPIED),
    "L2 entry far away": l2(1, 0x00FFFFFFFFF00000 | COPIED),
    "L2 entry on the L1 table": l2(1, lambda image, old: image.get("l1_table_offset") | COPIED),
    "L2 entry on the L2 table": l2(1, lambda image, old: image.l2_table(0) | COPIED),
    "L2 entry on the refcount table": l2(1, lambda image, old: image.get("refcount_table_offset") | COPIED),
    "L2 entry without copied": l2(0, lambda image, old: old & ~COPIED),
    "L2 entry copied though shared": l2(1, lambda image, old: old | COPIED),
    "L2 entries the same": l2(1, lambda image, old: image.number(image.l2_entry(0))),
    "L2 entry gone": l2(1, 0),
    "L2 entry zero and data": l2(1, lambda image, old: old | 1),
    "L2 entry zero, unaligned": l2(3, 0x1201),
    "L2 entry zero and copied": l2(3, COPIED | 1),
    "compressed and copied": l2(11, lambda image, old: old | COPIED),
    "compressed past the end": l2(11, lambda image, old: COMPRESSED | end(image) + 100),
    "compressed far away": l2(11, COMPRESSED | (1 << 53)),
    "compressed of one sector": l2(11, lambda image, old: COMPRESSED | (old & (1 << 54) - 1)),
    "compressed of too many sectors": l2(11, lambda image, old: old | 0x3FC0000000000000),
    "compressed on the header": l2(11, COMPRESSED),
    "compressed on a table": l2(11, lambda image, old: COMPRESSED | image.get("l1_table_offset") + 17),
    "compressed, all bits": l2(11, (1 << 63) - 1), "all bits": l2(11, (1 << 64) - 1),
    "compressed over its neighbour": l2(15, lambda image, old: image.number(image.l2_entry(11)) + 64),
}

REFCOUNT_DAMAGE = {
    "refcount block nowhere": at(lambda image: image.refcount_table_entry(0), 0),
    "refcount block unaligned": at(lambda image: image.refcount_table_entry(0), lambda image, old: old + 512),
    "refcount block off by bits": at(lambda image: image.refcount_table_entry(0), lambda image, old: old | 0x1FF),
    "refcount block past the end": at(lambda image: image.refcount_table_entry(0), lambda image, old: end(image)),
    "refcount block far away": at(lambda image: image.refcount_table_entry(0), 1 << 55),
    "refcount block on the header": at(lambda image: image.refcount_table_entry(0), lambda image, old: 512 * 0),
    "refcount block twice": at(lambda image: image.refcount_table_entry(1), lambda image, old: image.refcount_block(0)),
    "refcount block on the L1 table": at(lambda image: image.refcount_table_entry(0),
                                         lambda image, old: image.get("l1_table_offset")),
    "refcount of the header 0": refcount(0, 0), "refcount of the header 2": refcount(0, 2),
    "refcount of a table 0": refcount(1, 0), "refcount of a table 3": refcount(1, 3),
    "refcount of data 0": refcount(6, 0), "refcount of data 9": refcount(6, 9), "refcount all ones": refcount(6, 0xFFFF),
    "refcounts of all 0": lambda image: image.bytes.__setitem__(
        slice(image.refcount_block(0), image.refcount_block(0) + 64), bytes(64)),
    "refcount past the end": refcount(200, 1),
}


def snapshot_field(offset, value, size):
    return at(lambda image: image.snapshot(0) + offset, value, size)


SNAPSHOT_DAMAGE = {
    "snapshot's L1 unaligned": snapshot_field(0, lambda image, old: old + 8, 8),
    "snapshot's L1 far away": snapshot_field(0, 1 << 55, 8), "snapshot's L1 nowhere": snapshot_field(0, 0, 8),
    "snapshot's L1 shared with the disk": snapshot_field(0, lambda image, old: image.get("l1_table_offset"), 8),
    "snapshot's L1 of 0 entries": snapshot_field(8, 0, 4), "snapshot's L1 huge": snapshot_field(8, 0x7FFFFFFF, 4),
    "snapshot's L1 of all ones": snapshot_field(8, 0xFFFFFFFF, 4), "snapshot's L1 of 5": snapshot_field(8, 5, 4),
    "snapshot's id long": snapshot_field(12, 0xFFFF, 2), "snapshot's id empty": snapshot_field(12, 0, 2),
    "snapshot's name long": snapshot_field(14, 0xFFFF, 2), "snapshot's name empty": snapshot_field(14, 0, 2),
    "snapshot's VM state huge": snapshot_field(32, 0xFFFFFFFF, 4),
    "snapshot's extra data 0": snapshot_field(36, 0, 4), "snapshot's extra data 8": snapshot_field(36, 8, 4),
    "snapshot's extra data 17": snapshot_field(36, 17, 4), "snapshot's extra data 1025": snapshot_field(36, 1025, 4),
    "snapshot's extra data huge": snapshot_field(36, 0x7FFFFFFF, 4),
    "snapshot's extra data all ones": snapshot_field(36, 0xFFFFFFFF, 4),
    "snapshot's disk size odd": snapshot_field(48, 1000, 8), "snapshot's disk size huge": snapshot_field(48, 1 << 62, 8),
    "snapshot's disk size 0": snapshot_field(48, 0, 8), "snapshot's date far": snapshot_field(16, 0xFFFFFFFF, 4),
    "snapshot's date odd": snapshot_field(20, 0xFFFFFFFF, 4), "snapshot's clock all ones": snapshot_field(24, (1 << 64) - 1, 8),
}

SIZE_DAMAGE = {
    "cut to nothing": cut(0), "cut to 4 bytes": cut(4), "cut to 71 bytes": cut(71), "cut to 72 bytes": cut(72),
    "cut to 103 bytes": cut(103), "cut to 104 bytes": cut(104), "cut to 112 bytes": cut(112),
    "cut to 512 bytes": cut(512), "cut to the header's cluster": cut(lambda image: image.cluster_size),
    "cut to two clusters": cut(lambda image: 2 * image.cluster_size),
    "cut to the L1 table": cut(lambda image: image.get("l1_table_offset") + 4),
    "cut inside the L2 table": cut(lambda image: (image.l2_table(0) or 0) + 100),
    "cut a little": cut(lambda image: len(image.bytes) - 100),
    "cut by a cluster": cut(lambda image: end(image) - image.cluster_size),
    "longer by a byte": lambda image: image.bytes.extend(b"x"),
    "longer by clusters": lambda image: image.bytes.extend(b"x" * 3 * image.cluster_size),
}

EVERYWHERE = {**SIZE_DAMAGE, **{name: MAPPING_DAMAGE[name] for name in (
    "L1 entry unaligned", "L1 entry past the end", "L2 entry unaligned", "L2 entry past the end",
    "L2 entry reserved bits", "L2 entry gone", "L2 entry zero and data", "L2 entries the same")}}


def bitmap_of(image, offset, value):
    """Changes the last word of a subcluster bitmap."""
    image.put(image.l2_entry(offset) + 8, value)


def broken_bitmap(world):
    """A directory entry with a reserved flag: QEMU opens no such image, byre ignores its bitmaps."""
    make(world, BASES["default"])
    world.make("bitmap", "--add", "image.qcow2", "b")
    image = qcow2.Image(world.folder / "image.qcow2")
    directory = image.number(image.extension(0x23852875) + 24)
    image.put(directory + 12, 1 << 31, 4)
    image.save()
    look(world)


SUBCLUSTER_DAMAGE = {
    "subclusters both": lambda image: bitmap_of(image, 0, 0x00000001FFFFFFFF),
    "subclusters all of both": lambda image: bitmap_of(image, 1, (1 << 64) - 1),
    "subclusters of no cluster": lambda image: both(l2(4, 0), lambda image: bitmap_of(image, 4, 0xFF))(image),
    "subclusters none of a cluster": lambda image: bitmap_of(image, 0, 0),
    "subclusters of a compressed one": lambda image: bitmap_of(image, 11, 0xFF),
    "zero bit of a standard entry": l2(0, lambda image, old: old | 1),
    "subclusters zero alone": lambda image: both(l2(4, 0), lambda image: bitmap_of(image, 4, 0xFF << 32))(image),
}


def cases():
    for name, damage in {**HEADER_DAMAGE, **EXTENSION_DAMAGE, **MAPPING_DAMAGE, **REFCOUNT_DAMAGE,
                         **SNAPSHOT_DAMAGE, **SIZE_DAMAGE}.items():
        yield of_damage("default", name, damage)
    for base in ("small", "v2", "extended", "refcount64", "datafile", "zstd"):
        for name, damage in EVERYWHERE.items():
            yield of_damage(base, name, damage)
    for base in ("small", "refcount64"):
        for name, damage in {**MAPPING_DAMAGE, **REFCOUNT_DAMAGE}.items():
            if name not in EVERYWHERE and not (base == "refcount64" and name.startswith("refcount")):
                yield of_damage(base, name, damage)
    for name, damage in SUBCLUSTER_DAMAGE.items():
        yield of_damage("extended", name, damage)
    yield Case("bitmap with a reserved flag", broken_bitmap)
