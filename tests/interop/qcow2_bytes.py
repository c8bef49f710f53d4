# SPDX-License-Identifier: Apache-2.0
"""A qcow2 file as bytes, to be changed as no program would: just enough of the format, taken from its specification,
for tests that damage images."""
import struct

# Header fields: name -> (offset, size in bytes).
HEADER = {
    "magic": (0, 4), "version": (4, 4), "backing_file_offset": (8, 8), "backing_file_size": (16, 4),
    "cluster_bits": (20, 4), "size": (24, 8), "crypt_method": (32, 4), "l1_size": (36, 4),
    "l1_table_offset": (40, 8), "refcount_table_offset": (48, 8), "refcount_table_clusters": (56, 4),
    "nb_snapshots": (60, 4), "snapshots_offset": (64, 8), "incompatible": (72, 8), "compatible": (80, 8),
    "autoclear": (88, 8), "refcount_order": (96, 4), "header_length": (100, 4), "compression_type": (104, 1),
}
_CODES = {1: ">B", 2: ">H", 4: ">I", 8: ">Q"}
OFFSET_MASK = 0x00FFFFFFFFFFFE00


class Image:
    def __init__(self, path):
        self.path = path
        self.bytes = bytearray(path.read_bytes())

    def save(self):
        self.path.write_bytes(self.bytes)

    def get(self, name):
        offset, size = HEADER[name]
        return self.number(offset, size)

    def set(self, name, value):
        offset, size = HEADER[name]
        self.put(offset, value, size)

    def number(self, offset, size=8):
        return struct.unpack_from(_CODES[size], self.bytes, offset)[0]

    def put(self, offset, value, size=8):
        if offset + size > len(self.bytes):
            self.bytes += bytes(offset + size - len(self.bytes))
        struct.pack_into(_CODES[size], self.bytes, offset, value & ((1 << 8 * size) - 1))

    def set_feature(self, kind, bit):
        self.set(kind, self.get(kind) | 1 << bit)

    @property
    def cluster_size(self):
        return 1 << self.get("cluster_bits")

    @property
    def l2_entry_size(self):
        return 16 if self.get("version") >= 3 and self.get("incompatible") >> 4 & 1 else 8

    def l1_entry(self, index):
        """The offset of an L1 entry."""
        return self.get("l1_table_offset") + 8 * index

    def l2_table(self, index):
        """The offset of the L2 table of an L1 entry, or None."""
        return self.number(self.l1_entry(index)) & OFFSET_MASK or None

    def l2_entry(self, guest_cluster):
        """The offset of the L2 entry of a guest cluster; its table must exist."""
        per_table = self.cluster_size // self.l2_entry_size
        table = self.l2_table(guest_cluster // per_table)
        assert table is not None, f"no L2 table for guest cluster {guest_cluster}"
        return table + self.l2_entry_size * (guest_cluster % per_table)

    def refcount_table_entry(self, index):
        return self.get("refcount_table_offset") + 8 * index

    def refcount_block(self, index):
        return self.number(self.refcount_table_entry(index)) & OFFSET_MASK or None

    def refcount_entry(self, host_cluster):
        """The offset of the refcount of a host cluster, for widths of whole bytes."""
        bits = 1 << (self.get("refcount_order") if self.get("version") >= 3 else 4)
        assert bits >= 8
        per_block = self.cluster_size * 8 // bits
        return self.refcount_block(host_cluster // per_block) + bits // 8 * (host_cluster % per_block)

    def extensions_start(self):
        return self.get("header_length") if self.get("version") >= 3 else 72

    def extensions(self):
        """[(offset of its header, type, length)] up to, but not including, the end marker."""
        found = []
        place = self.extensions_start()
        while place + 8 <= len(self.bytes):
            kind, length = self.number(place, 4), self.number(place + 4, 4)
            if kind == 0:
                break
            found.append((place, kind, length))
            place += 8 + (length + 7) // 8 * 8
        return found

    def extension(self, kind):
        """The offset of the extension of a type."""
        return next(place for place, found, _ in self.extensions() if found == kind)

    def add_extension(self, kind, data):
        """Inserts an extension before the others."""
        start = self.extensions_start()
        end = self.get("backing_file_offset") or self.cluster_size
        addition = struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)
        rest = bytes(self.bytes[start:end - len(addition)])
        self.bytes[start:end] = addition + rest

    def snapshot(self, index):
        """The offset of an entry of the snapshot table."""
        place = self.get("snapshots_offset")
        for _ in range(index):
            place = self._after_snapshot(place)
        return place

    def _after_snapshot(self, place):
        extra = self.number(place + 36, 4)
        size = 40 + extra + self.number(place + 12, 2) + self.number(place + 14, 2)
        return place + (size + 7) // 8 * 8

    def set_vm_state_size(self, index, size):
        place = self.snapshot(index)
        self.put(place + 32, size, 4)
        if self.number(place + 36, 4) >= 8:
            self.put(place + 40, size)
