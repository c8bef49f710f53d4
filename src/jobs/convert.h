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

// In which order the target's bytes are written.
enum class WriteOrder {
  kAny,  // as soon as they are there
  // Writes begin in the order of their offsets. A target that gives places to compressed clusters
  // in the order in which they come then has the same bytes each time.
  kStarted,
  // A write begins when the one before it has ended: a target that cannot go back, or that shall
  // have the same bytes each time though it finds places for what is not compressed.
  kOneByOne,
};

struct ConvertOptions {
  // Runs of zeroes that are at least so long are not written as data; 0: everything is written,
  // also what the source does not have. A multiple of 512.
  uint64_t sparse_size = 4096;
  unsigned in_flight = 8;  // requests at a time, at least 1
  WriteOrder write_order = WriteOrder::kStarted;
  // Where sources and target are raw images in files, the host copies, zeroes and all. Not with
  // `compressed` or `salvage`.
  bool copy_range = false;
  bool compressed = false;  // the target's limits().compressed_write_size is not 0
  // What cannot be read counts as zeroes; `on_unreadable` hears of every sector. Where not even
  // the state can be read, `on_unknown_state` hears of it twice, since QEMU looks at the whole
  // source before it copies.
  bool salvage = false;
  std::function<void(uint64_t offset, const Error& error)> on_unreadable;
  std::function<void(uint64_t offset, const Error& error)> on_unknown_state;
  uint64_t bytes_per_second = 0;  // 0: no limit
  // The target reads as zeroes before the job starts: zeroes need no request at all.
  bool target_is_zero = false;
  // The target has a backing file that has what the (one) source's backing file has: only the
  // source's uppermost layer is copied.
  bool top_layer_only = false;
  uint64_t source_backing_size = UINT64_MAX;  // behind it the source reads as zeroes
  // Of the target's backing file: behind its end zeroes need no request.
  uint64_t backing_size = UINT64_MAX;
};

// Makes the first bytes of `target` read as the sources do, one behind the other; the target is at
// least as large as they are together, and opened for writing. Flushes the target. Reading, looking
// for zeroes, compressing and writing go on at the same time.
//
// Errors, in QEMU's words: "error while reading at byte N: <reason>", "error while writing at byte
// N: <reason>", "error while reading block status at offset N: <reason>"; Error(kCancelled) soon
// after `cancellation` was asked for. Of several, the one with the lowest offset. The target has
// then a part of the data. `progress` and `cancellation` may be nullptr; progress counts the bytes
// that have to be read or written.
Task<void> convert(std::vector<BlockDevice*> sources, BlockDevice& target, ConvertOptions options,
                   Progress* progress, const Cancellation* cancellation);

}  // namespace byre::jobs
