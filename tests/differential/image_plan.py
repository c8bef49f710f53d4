# SPDX-License-Identifier: Apache-2.0
"""A random image: its options, its backing file, its data file. The generator alone makes the choices; QEMU's programs
create the files."""
import dataclasses

KIB = 1024
SECTOR = 512


def text_of(options):
    text = {True: "on", False: "off"}
    return ",".join(f"{name}={text[value] if isinstance(value, bool) else value}" for name, value in options.items())


@dataclasses.dataclass
class ImagePlan:
    size: int  # when it is created
    options: dict
    backing_format: str = None  # "raw", "qcow2"
    backing_size: int = 0
    backing_file: str = "backing"
    chain: str = None  # the file that the backing file is on
    had_longer_backing: bool = False  # a former one reached past the end of the disk
    data_file: bool = False
    on_device: bool = False  # the image, on a block device with old contents
    snapshots: bool = False  # may be taken

    @property
    def cluster_size(self):
        return self.options["cluster_size"]

    @property
    def can_have_snapshots(self):
        """Narrow refcounts cannot count the snapshots of host clusters that hold many compressed ones."""
        return not self.data_file and self.options.get("refcount_bits", 16) >= 16

    @property
    def version(self):
        return 2 if self.options["compat"] == "0.10" else 3

    @property
    def is_preallocated(self):
        return "preallocation" in self.options

    @property
    def subcluster_size(self):
        return self.cluster_size // 32 if self.options.get("extended_l2") else self.cluster_size

    @property
    def l2_coverage(self):
        entry = 16 if self.options.get("extended_l2") else 8
        return self.cluster_size // entry * self.cluster_size

    def option_list(self):
        named = dict(self.options)
        if self.backing_format:
            named |= {"backing_file": self.backing_file, "backing_fmt": self.backing_format}
        if self.data_file:
            named["data_file"] = "data"
        return text_of(named)

    def become(self, other):
        vars(self).update(vars(other))


def _size(random, cluster_size):
    clusters = random.choice((1, 3, 17, 40, 100, 300))
    size = min(clusters * cluster_size, 6 << 20)
    # Sizes that end inside a cluster, and disks smaller than one.
    if random.random() < 0.5:
        size += random.randrange(1, max(2, cluster_size // SECTOR)) * SECTOR
    if random.random() < 0.1:
        size = random.randrange(1, 9) * SECTOR
    return size


def _backing_size(random, size, cluster_size):
    kind = random.choice(("shorter", "longer", "equal"))
    if kind == "equal":
        return size
    if kind == "longer":
        return size + random.randrange(1, 2 * cluster_size // SECTOR + 1) * SECTOR
    return random.randrange(1, size // SECTOR + 1) * SECTOR


def _cluster_size(random, extended_l2):
    sizes = (16, 32, 64, 64) if extended_l2 else (0.5, 1, 2, 4, 4, 16, 64, 64, 64, 256)
    return int(random.choice(sizes) * KIB)


def _options(random):
    """Of any image; whether it has version 2 or extended L2 entries decides what else there is."""
    extended_l2 = random.random() < 0.25
    is_v2 = not extended_l2 and random.random() < 0.15
    options = {"compat": "0.10" if is_v2 else "1.1", "cluster_size": _cluster_size(random, extended_l2)}
    if not is_v2:
        options["extended_l2"] = extended_l2
        options["refcount_bits"] = random.choice((1, 2, 4, 8, 16, 16, 16, 32, 64))
        options["lazy_refcounts"] = random.random() < 0.2
        options["compression_type"] = random.choice(("zlib", "zlib", "zstd"))
    return options


def make_plan(random, left_out=frozenset()):
    options = _options(random)
    plan = ImagePlan(_size(random, options["cluster_size"]), options)
    kind = random.choice(("alone", "alone", "backing", "backing", "backing", "data", "raw data",
                          "data and backing"))
    if plan.version == 2 and "data" in kind:
        kind = "backing"
    if "backing" in kind:
        plan.backing_format = random.choice(("raw", "qcow2"))
        plan.backing_size = _backing_size(random, plan.size, plan.cluster_size)
    plan.data_file = "data" in kind
    if kind == "raw data":
        options["data_file_raw"] = True
    if random.random() < 0.2 and (not plan.backing_format or options.get("extended_l2")):
        options["preallocation"] = random.choice(("metadata", "falloc", "full"))
    plan.snapshots = plan.can_have_snapshots and random.random() < 0.5
    # In preallocated clusters that QEMU created, the old contents of a device are visible.
    plan.on_device = "preallocation" not in options and random.random() < 0.2 and "devices" not in left_out
    return plan


def make_copy(random, plan):
    """What the image is when a random copy has replaced it: a file, without snapshots and data file."""
    copy = dataclasses.replace(plan, options=_options(random), data_file=False, on_device=False,
                               had_longer_backing=False)
    copy.snapshots = plan.snapshots and copy.can_have_snapshots
    return copy
