// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/assert.h"
#include "block/block_device.h"
#include "byre/error.h"

namespace byre::fuzz {

enum class Kind {
  kWrite,
  kCompressed,
  kZeroes,
  kUnmap,
  kDiscard,
  kRead,
  // Never concurrent with other requests:
  kFlush,
  kResize,
  kReopen,
  kCrash,
  kDamage,
};

struct DiskRequest {
  Kind kind = Kind::kRead;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::vector<uint8_t> bytes;  // to be written, or that were read
  std::optional<ErrorKind> error;
  bool changes() const { return kind != Kind::kRead; }
  uint64_t end() const { return offset + length; }
};

// Performs a request that may be in flight together with others.
inline Task<void> perform(BlockDevice* device, DiskRequest* request) {
  try {
    const ReadBuffers memory((Bytes(request->bytes)));
    switch (request->kind) {
      case Kind::kWrite:
        co_await device->write(request->offset, memory, WriteFlags::kNone);
        break;
      case Kind::kCompressed:
        co_await device->write(request->offset, memory, WriteFlags::kCompressed);
        break;
      case Kind::kZeroes:
        co_await device->write_zeroes(request->offset, request->length, WriteFlags::kNone);
        break;
      case Kind::kUnmap:
        co_await device->write_zeroes(request->offset, request->length, WriteFlags::kMayUnmap);
        break;
      case Kind::kDiscard:
        co_await device->discard(request->offset, request->length);
        break;
      default:
        co_await device->read(request->offset, memory);
        break;
    }
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
    request->error = error.kind();
  }
}

}  // namespace byre::fuzz
