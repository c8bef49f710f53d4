// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "async/cancellation.h"
#include "async/task.h"
#include "base/bytes.h"
#include "jobs/convert.h"
#include "jobs/segment_walker.h"
#include "jobs/source_sequence.h"

namespace byre::jobs {

// Reads pieces of a copy's source. With `salvage`, sectors that cannot be read become zeroes;
// otherwise the error, "convert-read-failed", names the first extent of the segment that cannot be
// read.
class SegmentReader {
 public:
  // All outlive it; `cancellation` may be nullptr.
  SegmentReader(const SourceSequence& source, const ConvertOptions& options,
                const Cancellation* cancellation)
      : source_(source), options_(options), cancellation_(cancellation) {}

  // A piece that begins at `offset` in the segment.
  Task<void> read(Segment segment, uint64_t offset, Bytes to);

 private:
  Task<uint64_t> first_unreadable(Segment segment);
  Task<void> salvage(uint64_t offset, Bytes to);

  const SourceSequence& source_;
  const ConvertOptions& options_;
  const Cancellation* const cancellation_;
};

}  // namespace byre::jobs
