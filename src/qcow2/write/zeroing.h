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

// Zeroes and discards: changes of L2 entries where the format can say "reads as zeroes", zero bytes
// where it cannot (version 2, parts of clusters or subclusters, raw external data files). Part of
// an image's WriteState.
class Zeroing {
 public:
  Zeroing(Context* context, Mapping* mapping, const Allocator* allocator, Linker* linker,
          Writer* writer)
      : context_(context),
        mapping_(mapping),
        allocator_(allocator),
        linker_(linker),
        writer_(writer) {}

  // With kMayUnmap clusters are given back, or kept for their place (`discard-no-unref`); without
  // it they stay reserved. kNoFallback: throws Error(kUnsupported) rather than write zero bytes.
  Task<void> write_zeroes(GuestOffset offset, uint64_t length, WriteFlags flags);
  // write_zeroes() for who holds Context::guest_lock exclusive; may go past the end of the disk.
  Task<void> clear_locked(GuestOffset offset, uint64_t length);
  // Whole clusters read as zeroes afterwards, whatever the backing file says, and are given back or
  // kept for their place; parts of clusters stay, and so does what only zero bytes could hide.
  Task<void> discard(GuestOffset offset, uint64_t length);

 private:
  struct Piece {
    GuestOffset begin;
    GuestOffset end;
  };

  Task<Piece> next_piece(GuestOffset begin, GuestOffset end);
  Task<void> zero_piece(GuestOffset begin, GuestOffset end, WriteFlags flags);
  // Whole subclusters; the lock is held.
  Task<void> zero_subclusters(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> zero_without_flag(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> zero_raw(GuestOffset begin, GuestOffset end, WriteFlags flags);
  Task<void> check_whole_subclusters(GuestOffset begin, GuestOffset end);
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
