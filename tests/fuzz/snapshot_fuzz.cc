// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/layout/snapshot.h"

// Any bytes as a snapshot table, followed by zeroes: they are refused, or give snapshots that
// encode to the same. The first byte is the number of snapshots.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

constexpr uint64_t kTableOffset = 0x10000;

std::vector<Snapshot> decode(ConstBytes table, uint32_t count) {
  Header header;
  header.snapshot_count = count;
  header.snapshots_offset = HostOffset(kTableOffset);
  SnapshotTableDecoder decoder(header);
  std::vector<uint8_t> bytes;
  for (uint32_t reads = 0; !decoder.done(); ++reads) {
    BYRE_ASSERT(reads <= 2 * count);
    BYRE_ASSERT(decoder.wanted() < 256 * 1024);
    const uint64_t from = decoder.offset() - HostOffset(kTableOffset);
    bytes.assign(decoder.wanted(), 0);
    if (from < table.size()) {
      const ConstBytes rest = table.subspan(from);
      std::copy_n(rest.begin(), std::min(rest.size(), bytes.size()), bytes.begin());
    }
    decoder.feed(bytes);
  }
  return decoder.take();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  try {
    const std::vector<Snapshot> snapshots = decode(ConstBytes(data + 1, size - 1), data[0]);
    BYRE_ASSERT(snapshots.size() == data[0]);
    Header header;
    const Geometry geometry(header);
    for (const Snapshot& snapshot : snapshots) {
      try {
        snapshot.validate_l1(geometry);
      } catch (const Error& error) {
        BYRE_ASSERT(!error.data().code.empty());
      }
    }
    const std::vector<uint8_t> encoded = encode_snapshot_table(snapshots);
    BYRE_ASSERT(decode(encoded, data[0]) == snapshots);
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty() && !error.data().code.empty());
  }
  return 0;
}
