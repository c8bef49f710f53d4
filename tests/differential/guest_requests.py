# SPDX-License-Identifier: Apache-2.0
"""Random requests to a disk, as command lines of qemu-io."""

LENGTH_MAX = 300 << 10
DUMP_MAX = 96


class Requests:
    """The requests of one run; keeps the model of the disk up to date."""

    def __init__(self, random, plan, model, left_out):
        self.random = random
        self.plan = plan
        self.model = model
        self.left_out = left_out
        self.discards = False  # whether a discard reaches the image: differs between processes
        self.fresh_pattern = 0
        # Clusters that may be allocated: QEMU compresses nothing into those, not even into compressed ones.
        self.touched = set()
        self.compressed = set()  # clusters that may have been written compressed
        if plan.is_preallocated:
            self.touch_all(compresses=False)
        self.places = self._interesting_places()

    def _interesting_places(self):
        plan = self.plan
        size = len(self.model)
        places = [0, plan.cluster_size, size, plan.backing_size, size // plan.cluster_size * plan.cluster_size]
        places += [plan.l2_coverage * count for count in (1, 2)]
        places += [self.random.randrange(max(1, size)) for _ in range(3)]
        return places

    def _offset(self):
        random, plan = self.random, self.plan
        offset = random.choice(self.places)
        kind = random.random()
        if kind < 0.3:
            offset = offset // plan.cluster_size * plan.cluster_size
            offset += random.randrange(-3, 4) * plan.cluster_size
        elif kind < 0.5:
            offset += random.randrange(-4, 5) * plan.subcluster_size
        elif kind < 0.7:
            offset = offset // 512 * 512 + random.randrange(-8, 9) * 512
        elif kind < 0.9:
            offset += random.randrange(-plan.cluster_size, plan.cluster_size + 1)
        return offset % max(len(self.model), 1)

    def _length(self, offset):
        random, plan = self.random, self.plan
        unit = random.choice((1, 512, plan.subcluster_size, plan.cluster_size))
        length = random.randrange(1, 6) * unit
        if random.random() < 0.3:
            length = random.randrange(1, 3 * plan.cluster_size)
        return max(0, min(length, LENGTH_MAX, len(self.model) - offset))

    def _range(self):
        offset = self._offset()
        length = self._length(offset)
        self._touch(offset, length)
        return offset, length

    def _clusters(self, offset, length):
        size = self.plan.cluster_size
        return range(offset // size, (offset + length + size - 1) // size)

    def _touch(self, offset, length):
        self.touched.update(self._clusters(offset, length))

    def touch_all(self, compresses):
        """The image was written as a whole."""
        self.touched = set(self._clusters(0, len(self.model)))
        if compresses:
            self.compressed = set(self.touched)
        self.places = self._interesting_places()

    def _pattern(self):
        if self.random.random() < 0.1:
            return 0
        self.fresh_pattern = self.fresh_pattern % 255 + 1
        return self.fresh_pattern

    def _split(self, length):
        """The lengths of a vector, "a b c"."""
        random = self.random
        lengths = []
        while length > 512 and random.random() < 0.7 and len(lengths) < 5:
            part = random.randrange(1, length // 512 + 1) * 512
            if part >= length:
                break
            lengths.append(part)
            length -= part
        return " ".join(map(str, lengths + [length]))

    # One command each; [] if the disk has no room for it.

    def write(self):
        offset, length = self._range()
        value = self._pattern()
        flags = "-f " if self.random.random() < 0.1 else ""
        self.model.write(offset, length, value)
        if self.random.random() < 0.2:
            return [f"writev {flags}-P {value} {offset} {self._split(length)}"] if length else []
        return [f"write {flags}-P {value} {offset} {length}"]

    def write_zeroes(self):
        offset, length = self._range()
        flags = self.random.choice(("-z", "-z", "-z -u", "-z -u", "-z -f"))
        self.model.write(offset, length, 0)
        return [f"write {flags} {offset} {length}"]

    def write_zeroes_without_fallback(self):
        """Whether a fallback is needed depends on what is allocated, which is up to each program, so session.py does
        not compare the results; a refused request may be partly done. With a data file the result also depends on
        the host's file system, and on a device on its driver."""
        if self.plan.data_file or self.plan.on_device:
            return []
        offset, length = self._range()
        flags = self.random.choice(("-z -n", "-z -n -u"))
        self.model.write(offset, length, 0)
        return [f"write -q {flags} {offset} {length}", f"write -z {offset} {length}"]

    def discard(self):
        offset, length = self._range()
        if self.discards:
            self.model.forget(offset, length)
        return [f"discard {offset} {length}"]

    def write_compressed(self):
        size = self.plan.cluster_size
        offset = self._offset() // size * size
        length = min(self.random.randrange(1, 4) * size, len(self.model) - offset)
        value = self._pattern()
        if self.random.random() < 0.03:  # not whole clusters: refused
            offset, length = self._range()
            is_whole = offset % size == 0 and (length % size == 0 or offset + length == len(self.model))
            if not is_whole:
                self.model.forget(offset, length)
                return [f"write -c -P {value} {offset} {length}"]
        if not self.touched.isdisjoint(self._clusters(offset, length)):
            return []
        self._touch(offset, length)
        self.compressed.update(self._clusters(offset, length))
        self.model.write(offset, length, value)
        return [f"write -c -P {value} {offset} {length}"]

    def read(self):
        offset = self._offset()
        length = self._length(offset)
        if self.random.random() < 0.3:
            return [f"read -v {offset} {min(length, DUMP_MAX)}"]
        same, value = self.model.run_at(offset, length)
        if same == length and length > 0:
            command = "readv" if self.random.random() < 0.2 else "read"
            return [f"{command} -P {value} {offset} {length}"]
        if same > 0:
            return [f"read -P {value} -l {same} {offset} {length}"]
        return [f"read {offset} {length}"]

    def flush(self):
        return ["flush"]

    def reopen(self):
        """Changes the cache mode in the middle of the run."""
        modes = ["writeback", "writethrough", "unsafe"]
        if self.plan.backing_format != "raw" and not self.plan.data_file:
            modes += ["none", "directsync"]  # QEMU fails an assertion at the end of raw files below the image
        return [f"reopen -c {self.random.choice(modes)}"]

    def length(self):
        return ["length"]

    def _ends_inside_compressed_cluster(self):
        size, cluster = len(self.model), self.plan.cluster_size
        return self.plan.subcluster_size < cluster and size % cluster and size // cluster in self.compressed

    def new_size(self):
        """For the disk; None: none that both programs can give it."""
        size, cluster = len(self.model), self.plan.cluster_size
        change = self.random.choice((512, cluster, 3 * cluster, self.random.randrange(1, cluster + 1)))
        change = change // 512 * 512 or 512
        shrinks = self.random.random() < 0.4 and "shrinking" not in self.left_out
        is_v2 = self.plan.version == 2
        has_longer_backing = self.plan.backing_size > size
        if self.plan.snapshots and (shrinks or is_v2) or is_v2 and has_longer_backing:
            return None  # QEMU refuses
        if not shrinks and has_longer_backing and self._ends_inside_compressed_cluster():
            return None  # QEMU cannot zero subclusters of it, and the image is unusable in that process
        if not shrinks and self.plan.had_longer_backing and size % cluster:
            return None  # QEMU shows what the rest of the last cluster has from the former backing file
        # In the rest of the last cluster QEMU keeps what was cut off, and shows it when the disk grows again; so
        # nothing is cut there.
        new_size = (size - change) // cluster * cluster if shrinks else size + change
        return new_size if 0 < new_size <= 8 << 20 else None

    def resized(self, new_size):
        size = len(self.model)
        self._touch(min(size, new_size) - 1, abs(new_size - size) + 1)
        self.model.resize(new_size)

    def truncate(self):
        new_size = self.new_size()
        if new_size is None:
            return []
        self.resized(new_size)
        return [f"truncate {new_size}", "length"]

    def out_of_range(self):
        size = len(self.model)
        offset = size + self.random.randrange(-512, 4096)
        command = self.random.choice(("read", "write -P 7", "write -z", "discard"))
        return [f"{command} {max(offset, 0)} {4096 + 512}"]

    def in_flight(self):
        """Concurrent requests that share clusters but no bytes; they are done at the flush."""
        random, plan = self.random, self.plan
        offset = self._offset() // 512 * 512
        commands = []
        for _ in range(random.randrange(2, 9)):
            unit = random.choice((512, plan.subcluster_size, plan.cluster_size))
            length = min(random.randrange(1, 4) * unit, LENGTH_MAX, len(self.model) - offset)
            if length <= 0:
                break
            self._touch(offset, length)
            kind = random.random()
            if kind < 0.6:
                value = self._pattern()
                self.model.write(offset, length, value)
                commands.append(f"aio_write -q -P {value} {offset} {self._split(length)}")
            elif kind < 0.8:
                # Where the rest of a cluster reads as zeroes QEMU zeroes all of it, and what another request writes to
                # it meanwhile is lost, or is written to a cluster that is free.
                offset = -(-offset // plan.cluster_size) * plan.cluster_size
                length = min(plan.cluster_size, len(self.model) - offset)
                if length < plan.cluster_size:
                    break
                self._touch(offset, length)
                self.model.write(offset, length, 0)
                commands.append(f"aio_write -q -z {random.choice(('', '-u '))}{offset} {length}")
            else:
                commands.append(f"aio_read -q {offset} {length}")
            offset += length + random.choice((0, 0, 512, 4096))
        random.shuffle(commands)
        return commands + ["aio_flush"] if commands else []

    def batch(self, count, compresses):
        """At least `count` commands for one process."""
        if compresses:
            kinds = ((self.write_compressed, 12), (self.read, 4), (self.flush, 1))
        else:
            kinds = ((self.write, 12), (self.write_zeroes, 6), (self.discard, 5), (self.read, 8),
                     (self.in_flight, 3), (self.flush, 2), (self.truncate, 1), (self.length, 1),
                     (self.out_of_range, 1), (self.write_zeroes_without_fallback, 1), (self.reopen, 1))
        makers, weights = zip(*kinds)
        commands = []
        for _ in range(100 * count):  # on a small disk there may be nothing left to compress into
            commands += self.random.choices(makers, weights)[0]()
            if len(commands) >= count:
                break
        return commands
