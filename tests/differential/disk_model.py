# SPDX-License-Identifier: Apache-2.0
"""What the guest should read, byte by byte; some bytes may be unknown."""


BLOCK = 512


class DiskModel:
    def __init__(self, content):
        """`content`: bytes, or a number of zeroes."""
        self.data = bytearray(content)
        self.known = bytearray(b"\1" * len(self.data))

    def __len__(self):
        return len(self.data)

    def copy(self):
        copy = DiskModel(0)
        copy.become(self)
        return copy

    def become(self, other):
        self.data[:] = other.data
        self.known[:] = other.known

    def first(self, size):
        part = self.copy()
        part.resize(min(size, len(part)))
        return part

    def overwrite(self, other):
        """Has what the other has, and keeps what is past it."""
        self.data[:len(other)] = other.data
        self.known[:len(other)] = other.known

    def write(self, offset, length, value):
        self.data[offset:offset + length] = bytes([value]) * length
        self.known[offset:offset + length] = b"\1" * length

    def forget(self, offset, length):
        self.known[offset:offset + length] = bytes(length)

    def forget_differences(self, one, other):
        """What comes from one may come from the other, both with zeroes past their end."""
        for at in range(0, len(self), BLOCK):
            length = min(BLOCK, len(self) - at)
            parts = [model.part(at, length) for model in (one, other)]
            if parts[0] != parts[1] or None in parts:
                self.known[at:at + length] = bytes(length)

    def part(self, offset, length):
        """With zeroes past the end; None: not all of it is known."""
        part = bytes(self.data[offset:offset + length])
        return None if 0 in self.known[offset:offset + length] else part + bytes(length - len(part))

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
