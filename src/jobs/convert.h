// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "async/cancellation.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "jobs/progress.h"

namespace byre::jobs {

// The order in which the target's bytes are written.
enum class WriteOrder {
  kAny,  // as soon as they are ready
  // Writes begin in the order of their offsets. A target that allocates compressed clusters in
  // order of arrival then has the same bytes each time.
  kStarted,
  // A write begins when the previous one has ended: for a target that can only be written
  // sequentially, or that must have the same bytes each time although it also allocates
  // uncompressed clusters.
  kOneByOne,
};

struct ConvertOptions {
  // Runs of zeroes of at least this length are not written as data; 0: everything is written,
  // including what the source does not have. A multiple of 512.
  uint64_t sparse_size = 4096;
  unsigned in_flight = 8;  // concurrent requests, at least 1
  WriteOrder write_order = WriteOrder::kStarted;
  // If sources and target are raw images in files, the host copies, including zeroes. Not with
  // `compressed` or `salvage`.
  bool copy_range = false;
  bool compressed = false;  // the target's limits().compressed_write_size is not 0
  // Data that cannot be read counts as zeroes; `on_unreadable` is called for each such sector. If
  // not even the state can be read, `on_unknown_state` is called for it twice, since QEMU scans the
  // whole source before it copies.
  bool salvage = false;
  std::function<void(uint64_t offset, const Error& error)> on_unreadable;
  std::function<void(uint64_t offset, const Error& error)> on_unknown_state;
  uint64_t bytes_per_second = 0;  // 0: unlimited
  // The target reads as zeroes before the job starts: zeroes need no request.
  bool target_is_zero = false;
  // The target has a backing file with the contents of the (only) source's backing file: only the
  // source's topmost layer is copied.
  bool top_layer_only = false;
  uint64_t source_backing_size = UINT64_MAX;  // past it the source reads as zeroes
  // Only what the topmost layers of the source determine is copied, as many as this.
  uint32_t layers = UINT32_MAX;
  // The size of the target's backing file: past its end zeroes need no request.
  uint64_t backing_size = UINT64_MAX;
  // Only what differs from `kept` is written, in whole units of `kept_unit` bytes, a power of two;
  // past its end, and if it is nullptr, `kept` is zeroes. 0: everything is written.
  BlockDevice* kept = nullptr;
  uint64_t kept_unit = 0;
};

// Copies the sources, concatenated, to the start of `target`, which must be at least as large as
// they are together, and opened for writing. Flushes the target. Reading, detecting zeroes,
// compressing and writing overlap.
//
// Errors have the offset as data and the codes "convert-read-failed", "convert-kept-unreadable",
// "convert-write-failed" and "convert-extents-unreadable"; Error(kCancelled)
// soon after a request to `cancellation`. Of several errors, the one with the lowest offset is
// thrown. The target then has a part of the data. `progress` and `cancellation` may be nullptr;
// progress counts the bytes that have to be read or written.
Task<void> convert(std::vector<BlockDevice*> sources, BlockDevice& target, ConvertOptions options,
                   Progress* progress, const Cancellation* cancellation);

}  // namespace byre::jobs
