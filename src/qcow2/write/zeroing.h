// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/write/linker.h"
#include "qcow2/write/writer.h"

namespace byre::qcow2 {

// Zeroing and discarding: changes L2 entries if the format can express "reads as zeroes", and
// writes zero bytes if it cannot (version 2, parts of clusters or subclusters, raw external data
// files). Part of WriteParts.
//
// Large ranges are split into pieces; a failure leaves those before it done.
class Zeroing {
 public:
  Zeroing(Context* context, Mapping* mapping, const Allocator* allocator, Linker* linker,
          Writer* writer)
      : context_(context),
        mapping_(mapping),
        allocator_(allocator),
        linker_(linker),
        writer_(writer) {}

  // With kMayUnmap clusters are freed, or keep their offset (`discard-no-unref`); without it they
  // stay reserved. kNoFallback: throws Error(kUnsupported) instead of writing zero bytes.
  Task<void> write_zeroes(GuestOffset offset, uint64_t length, WriteFlags flags);
  // write_zeroes() of a range that may exceed the end of the disk.
  // REQUIRES: the caller holds Context::guest_lock exclusively for the range.
  Task<void> clear_locked(GuestOffset offset, uint64_t length);
  // Whole clusters read as zeroes afterwards, whatever the backing file has, and are freed or keep
  // their offset. Parts of clusters are unchanged, and so are clusters that only zero bytes could
  // hide.
  Task<void> discard(GuestOffset offset, uint64_t length);

 private:
  struct Piece {
    GuestOffset begin;
    GuestOffset end;
  };

  struct Outer {
    GuestOffset begin;
    GuestOffset end;
    bool head_is_zero = false;
    bool tail_is_zero = false;
  };

  Task<Piece> next_piece(GuestOffset begin, GuestOffset end);
  Task<void> zero_piece(GuestOffset begin, GuestOffset end, WriteFlags flags);
  // Whole subclusters.
  // REQUIRES: the caller holds Context::guest_lock exclusively for the range.
  Task<void> zero_subclusters(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> zero_without_flag(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> zero_raw(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<Outer> outer_subclusters(GuestOffset begin, GuestOffset end);
  static Error zeroing_needs_write();
  Task<void> write_out_compressed(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> write_zero_bytes(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<bool> reads_as_zeroes(GuestOffset begin, GuestOffset end);
  Task<GuestOffset> skip_unmapped(GuestOffset begin, GuestOffset end);
  layout::L2Entry zeroed(const layout::L2Entry& old, GuestOffset cluster, uint32_t first,
                         uint32_t count, bool may_unmap) const;
  Task<GuestOffset> skip_undiscardable(GuestOffset begin, GuestOffset end);
  Task<void> discard_piece(GuestOffset begin, GuestOffset end);
  layout::L2Entry discarded(const layout::L2Entry& old, GuestOffset cluster) const;
  bool keeps_cluster(const layout::L2Entry& old) const;
  Linker::Emptied emptied(bool may_discard) const;
  bool is_past_backing(GuestOffset begin) const;
  Task<bool> is_zero_in_backing(GuestOffset begin, GuestOffset end);
  uint64_t disk_end() const;

  Context* context_;
  Mapping* mapping_;
  const Allocator* allocator_;
  Linker* linker_;
  Writer* writer_;
};

}  // namespace byre::qcow2
