# SPDX-License-Identifier: Apache-2.0
"""What the guest should read, byte by byte; some bytes may be unknown."""


class DiskModel:
    def __init__(self, size):
        self.data = bytearray(size)
        self.known = bytearray(b"\1" * size)

    def __len__(self):
        return len(self.data)

    def write(self, offset, length, value):
        self.data[offset:offset + length] = bytes([value]) * length
        self.known[offset:offset + length] = b"\1" * length

    def put(self, offset, content):
        self.data[offset:offset + len(content)] = content

    def forget(self, offset, length):
        self.known[offset:offset + length] = bytes(length)

    def resize(self, size):
        del self.data[size:]
        del self.known[size:]
        more = size - len(self.data)
        self.data += bytes(more)
        self.known += b"\1" * more

    def uniform(self, offset, length):
        """The one value of the whole range, or None."""
        part = self.data[offset:offset + length]
        if not part or 0 in self.known[offset:offset + length]:
            return None
        return part[0] if part.count(part[0]) == len(part) else None

    def run_at(self, offset, length_max):
        """The number of bytes from `offset` on that are known to have the same value, and the value."""
        end = min(offset + length_max, len(self.data))
        if offset >= end or not self.known[offset]:
            return 0, None
        value = self.data[offset]
        part = bytes(self.data[offset:end])
        length = len(part) - len(part.lstrip(bytes([value])))
        unknown = self.known.find(0, offset, offset + length)
        return (length if unknown < 0 else unknown - offset), value
