# SPDX-License-Identifier: Apache-2.0
"""Random commands of qemu-img that change the image as a whole."""
import collections

from disk_model import DiskModel
from image_plan import SECTOR, make_copy, text_of
from process_options import IMAGE

SNAPSHOTS_MAX = 3
COPY = "copy.qcow2"
PART_MAX = 64 * SECTOR

# `arguments` of qemu-img; `done` is called if both programs have succeeded, and changes the models.
Command = collections.namedtuple("Command", "arguments done")


class Commands:
    """The commands of one run. `files` makes the files that they need, on both sides, and replaces the image."""

    def __init__(self, random, disk, files):
        self.random = random
        self.disk = disk
        self.files = files
        self.made = 0  # names so far

    def draw(self):
        """None if what was drawn is impossible."""
        kinds = ((self.create_snapshot, 5), (self.apply_snapshot, 3), (self.delete_snapshot, 3),
                 (self.resize, 3), (self.rebase, 5), (self.rename_backing, 2), (self.commit, 4),
                 (self.amend, 4), (self.convert, 2))
        makers, weights = zip(*kinds)
        return self.random.choices(makers, weights)[0]()

    def _name(self, kind):
        self.made += 1
        return f"{kind}{self.made}"

    def create_snapshot(self):
        disk = self.disk
        if not disk.plan.snapshots or len(disk.snapshots) == SNAPSHOTS_MAX:
            return None
        name = self._name("s")

        def done():
            disk.snapshots[name] = disk.model.copy()
        return Command(["snapshot", "-c", name, IMAGE], done)

    def apply_snapshot(self):
        disk = self.disk
        if not disk.snapshots:
            return None
        name = self.random.choice(list(disk.snapshots))
        return Command(["snapshot", "-a", name, IMAGE], lambda: disk.model.become(disk.snapshots[name]))

    def delete_snapshot(self):
        disk = self.disk
        if not disk.snapshots:
            return None
        name = self.random.choice(list(disk.snapshots))
        return Command(["snapshot", "-d", name, IMAGE], lambda: disk.snapshots.pop(name))

    def resize(self):
        disk = self.disk
        size = len(disk.model)
        new_size = disk.requests.new_size()
        if new_size is None:
            return None
        argument = self.random.choice((str(new_size), f"{new_size - size:+}"))
        shrinks = ["--shrink"] if new_size < size or self.random.random() < 0.1 else []
        return Command(["resize", "-f", "qcow2", *shrinks, IMAGE, argument],
                       lambda: disk.requests.resized(new_size))

    def _new_contents(self, size):
        """In parts as the disk, in parts as the present backing file, in parts something else."""
        random = self.random
        sources = [self.disk.model.data, self.disk.backing.data if self.disk.backing else b"", b"", None]
        content = bytearray()
        while len(content) < size:
            length = min(random.randrange(1, PART_MAX), size - len(content))
            source = random.choice(sources)
            part = random.randbytes(length) if source is None else source[len(content):len(content) + length]
            content += part + bytes(length - len(part))
        return bytes(content)

    def _use_backing(self, name, kind, content, chain=None):
        """The disk is on another file; what its snapshots do not have themselves comes from there."""
        disk = self.disk
        backing = DiskModel(0) if name is None else DiskModel(content)
        disk.forget_in_snapshots(disk.backing or DiskModel(0), backing)
        disk.plan.had_longer_backing |= disk.plan.backing_size > len(disk.model)
        disk.backing = None if name is None else backing
        disk.plan.backing_file = name
        disk.plan.backing_format = None if name is None else kind
        disk.plan.backing_size = len(backing)
        disk.plan.chain = chain

    def rebase(self):
        random, disk = self.random, self.disk
        plan = disk.plan
        if plan.options.get("data_file_raw"):
            return None
        if plan.version == 2 and not plan.backing_format:
            return None  # QEMU shows the new backing file where the disk is zero
        # QEMU fails an assertion if some subclusters of a cluster are allocated.
        can_compress = not plan.data_file and plan.subcluster_size == plan.cluster_size
        compresses = can_compress and random.random() < 0.3
        arguments = ["rebase", "-f", "qcow2", *(["-c"] if compresses else [])]
        name, kind, content, chain = None, None, b"", None
        if random.random() < 0.25:
            arguments += ["-b", ""]
        else:
            size = max(SECTOR, random.randrange(2 * len(disk.model)) // SECTOR * SECTOR)
            name, kind, content = self._name("backing"), random.choice(("raw", "qcow2")), self._new_contents(size)
            chain = self._name("backing") if kind == "qcow2" and random.random() < 0.4 else None
            self.files.make_backing(name, kind, content, chain)
            arguments += ["-b", name, "-F", kind]

        def done():
            self._use_backing(name, kind, content, chain)
            disk.requests.touch_all(compresses)
        return Command([*arguments, IMAGE], done)

    def rename_backing(self):
        """To a copy of the backing file in another format."""
        disk = self.disk
        if not disk.backing or 0 in disk.backing.known:
            return None
        name, content = self._name("backing"), bytes(disk.backing.data)
        kind = "raw" if disk.plan.backing_format == "qcow2" else "qcow2"
        self.files.make_backing(name, kind, content)
        return Command(["rebase", "-u", "-b", name, "-F", kind, IMAGE],
                       lambda: self._use_backing(name, kind, content))

    def commit(self):
        disk = self.disk
        if not disk.backing:
            return None
        if disk.plan.chain and self.random.random() < 0.3:
            return self._commit_below()
        keeps = ["-d"] if self.random.random() < 0.3 else []

        def done():
            before = disk.backing.copy()
            disk.backing.overwrite(disk.model)
            disk.plan.backing_size = len(disk.backing)
            disk.forget_in_snapshots(before, disk.backing)
            self.files.expect_backing()
        return Command(["commit", "-f", "qcow2", *keeps, IMAGE], done)

    def _commit_below(self):
        """To the last file of the chain. The backing file may then read as anything where they differ."""
        disk = self.disk

        def done():
            before = disk.backing.copy()
            disk.backing.forget_differences(before, disk.model)
            disk.forget_in_snapshots(before, disk.model)
        return Command(["commit", "-f", "qcow2", "-b", disk.plan.chain, IMAGE], done)

    def amend(self):
        random, plan = self.random, self.disk.plan
        bits = (16, 32, 64) if plan.snapshots else (1, 2, 4, 8, 16, 32, 64)
        change = random.choice(({"compat": "1.1"}, {"compat": "0.10"}, {"refcount_bits": random.choice(bits)},
                                {"lazy_refcounts": random.random() < 0.5}))
        is_downgrade = change.get("compat") == "0.10"
        if is_downgrade and (self.disk.snapshots or plan.options.get("compression_type") == "zstd"):
            return None  # QEMU overwrites what a snapshot has, and does not know what it has compressed
        return Command(["amend", "-f", "qcow2", "-o", text_of(change), IMAGE], lambda: plan.options.update(change))

    def convert(self):
        random, disk = self.random, self.disk
        copy = make_copy(random, disk.plan)
        compresses = random.random() < 0.3
        arguments = ["convert", "-O", "qcow2", *(["-c"] if compresses else [])]
        if disk.backing and random.random() < 0.5:
            arguments += ["-B", disk.plan.backing_file, "-F", disk.plan.backing_format]
        else:
            copy.backing_format, copy.backing_size, copy.chain = None, 0, None

        def done():
            disk.snapshots.clear()
            disk.backing = disk.backing if copy.backing_format else None
            disk.plan.become(copy)
            disk.requests.touch_all(compresses)
            self.files.replace_image(COPY)
        return Command([*arguments, "-o", text_of(copy.options), IMAGE, COPY], done)
