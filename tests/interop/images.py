# SPDX-License-Identifier: Apache-2.0
"""Tables of image layouts, and disks filled with bytes that identify their offset."""
import dataclasses
import random

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
CLUSTER_SIZES = [512 << shift for shift in range(13)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Options of `create -f qcow2 -o`, as given; the name of a case is made from them."""

    options: tuple = ()

    def __str__(self):
        return ",".join(f"{key}={value}" for key, value in self.options) or "default"

    def get(self, key, default=None):
        return dict(self.options).get(key, default)

    @property
    def cluster_size(self):
        return int(self.get("cluster_size", 64 * KIB))

    @property
    def has_data_file(self):
        return self.get("data_file") is not None

    def arguments(self):
        return ["-o", str(self)] if self.options else []


def layout(**options):
    return Layout(tuple(options.items()))


def _compat(version):
    return {2: "0.10", 3: "1.1"}[version]


def cluster_layouts():
    return [layout(cluster_size=size, compat=_compat(version))
            for size in CLUSTER_SIZES for version in (2, 3)]


def refcount_layouts():
    return [layout(refcount_bits=1 << order, cluster_size=size)
            for order in range(7) for size in (512, 4096, 64 * KIB, 2 * MIB)]


def extended_layouts():
    return [layout(extended_l2="on", cluster_size=size, compression_type=compression)
            for size in CLUSTER_SIZES[5:] for compression in ("zlib", "zstd")]


def compression_layouts():
    return [layout(compression_type="zstd", cluster_size=size) for size in CLUSTER_SIZES]


def lazy_layouts():
    return [layout(lazy_refcounts="on", cluster_size=size) for size in (512, 64 * KIB, 2 * MIB)]


def data_file_layouts():
    found = []
    for size in (512, 4096, 64 * KIB, 2 * MIB):
        found.append(layout(data_file="image.data", cluster_size=size))
        found.append(layout(data_file="image.data", data_file_raw="on", cluster_size=size))
    found.append(layout(data_file="image.data", extended_l2="on", cluster_size=64 * KIB))
    found.append(layout(data_file="image.data", data_file_raw="on", lazy_refcounts="on"))
    found.append(layout(data_file="image.data", refcount_bits=1))
    return found


def preallocation_layouts():
    found = []
    for mode in ("off", "metadata", "falloc", "full"):
        found.append(layout(preallocation=mode))
        for size in (4096, 2 * MIB):
            found.append(layout(preallocation=mode, cluster_size=size))
        found.append(layout(preallocation=mode, compat="0.10"))
        found.append(layout(preallocation=mode, extended_l2="on", cluster_size=128 * KIB))
        found.append(layout(preallocation=mode, data_file="image.data"))
        found.append(layout(preallocation=mode, data_file="image.data", data_file_raw="on"))
    return found


def all_layouts():
    return list(dict.fromkeys(cluster_layouts() + refcount_layouts() + extended_layouts() +
                              compression_layouts() + lazy_layouts() + data_file_layouts() +
                              preallocation_layouts()))


def noise(size, seed):
    """Bytes that no codec makes smaller."""
    return random.Random(seed).randbytes(size)


def text(size, seed):
    """Bytes that compress like a file system's: lines that repeat with changes."""
    chooser = random.Random(seed)
    lines = [b"%d: %s\n" % (number, chooser.randbytes(8).hex().encode()) for number in range(64)]
    out = bytearray()
    while len(out) < size:
        out += b"%08x " % len(out) + chooser.choice(lines)
    return bytes(out[:size])


# The contents of a filled disk, in clusters: (first, count, kind). Gaps are left unwritten, so that every kind is next
# to every other, and runs end inside and at the ends of clusters.
FILL = [
    (0, 3, "text"), (3, 1, "zero"), (4, 1, "noise"), (6, 2, "text"), (8.25, 0.5, "noise"),
    (9.5, 1.25, "text"), (12, 2, "zero"), (14, 1, "noise"), (17, 4, "text"), (21, 1, "zero"),
    (23.75, 0.5, "text"),
]
FILL_CLUSTERS = 26


def fill_bytes(cluster, seed=1):
    """[(offset, bytes)] of the filled parts of a disk; cut to sectors."""
    found = []
    for number, (first, count, kind) in enumerate(FILL):
        offset = int(first * cluster) // 512 * 512
        size = max(512, int(count * cluster) // 512 * 512)
        if kind == "zero":
            found.append((offset, bytes(size)))
        else:
            found.append((offset, (text if kind == "text" else noise)(size, seed * 1000 + number)))
    return found


def disk_size(cluster):
    """A filled disk's size: not a multiple of the cluster size where that is more than a sector."""
    size = FILL_CLUSTERS * cluster + cluster // 2
    return size // 512 * 512


def write_raw(path, size, parts):
    """A sparse raw file."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in parts:
            file.seek(offset)
            file.write(data[:max(0, size - offset)])


def raw_disk(world, name, cluster, seed=1, size=None):
    """A raw file with the usual contents; returns its path."""
    path = world.folder / name
    write_raw(path, disk_size(cluster) if size is None else size, fill_bytes(cluster, seed))
    return path


def fill_image(world, name, chosen, seed=1, compressed=True, folder=None):
    """Writes the usual contents into an image with qemu-io, as a guest would: data, compressed clusters, zero clusters,
    discarded ones. One qemu-io for all."""
    folder = folder or world.folder
    cluster = chosen.cluster_size
    commands = []

    def pattern(data):
        name = f"pattern-{len(commands)}"
        (folder / name).write_bytes(data)
        return name

    if compressed and not chosen.has_data_file and chosen.get("preallocation", "off") == "off":
        # First, as a compressed write needs an unallocated cluster. 8 is later overwritten in part, 18 as a whole.
        for index, data in ((8, text(cluster, seed + 7)), (11, text(cluster, seed + 8)),
                            (15, noise(cluster // 2, seed) + bytes(cluster - cluster // 2)),
                            (18, bytes(cluster)), (25, noise(cluster, seed))):
            commands.append(f"write -c -s {pattern(data)} {index * cluster} {cluster}")
    for offset, data in fill_bytes(cluster, seed):
        if data.strip(b"\0"):
            commands.append(f"write -s {pattern(data)} {offset} {len(data)}")
        else:
            commands.append(f"write -z {offset} {len(data)}")
    commands.append(f"discard {6 * cluster} {cluster}")
    commands.append(f"write -z -u {19 * cluster} {cluster}")
    if chosen.get("extended_l2") == "on":
        sub = cluster // 32
        commands += [f"write -P 77 {22 * cluster + 3 * sub} {2 * sub}",
                     f"write -z {22 * cluster + 9 * sub} {sub}",
                     f"discard {4 * cluster + 5 * sub} {3 * sub}",
                     f"write -P 78 {cluster * 12 + sub} {sub}"]
    world.write(name, *commands, folder=folder)
    for path in folder.glob("pattern-*"):
        path.unlink()
