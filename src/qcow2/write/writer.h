// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "async/task.h"
#include "block/io_vector.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/write/linker.h"

namespace byre::qcow2 {

class Allocator;

// Writes guest bytes to an image. Part of WriteParts.
//
// Bytes in clusters that the active disk has exclusively are written in place. For the others
// clusters are allocated, as many in a row as the request needs; the parts of the first and the
// last that the request does not cover are copied, in the same storage write as the data; then the
// L2 entries are changed. A write that fails before that has changed only bytes that nothing refers
// to.
//
// Requests that touch the same clusters are serialized by Context::guest_lock; others are not
// delayed.
class Writer {
 public:
  Writer(Context* context, Mapping* mapping, Reader* reader, Allocator* allocator, Linker* linker,
         DeferredDiscards* discards, OverlapCheck* overlap)
      : context_(context),
        mapping_(mapping),
        reader_(reader),
        allocator_(allocator),
        linker_(linker),
        discards_(discards),
        overlap_(overlap) {}

  Task<void> write(GuestOffset offset, WriteBuffers from);
  // The range has at most Linker::clusters_max() clusters.
  // REQUIRES: the caller holds Context::guest_lock exclusively for the clusters of the range.
  Task<void> write_locked(GuestOffset offset, WriteBuffers from);

  // The most bytes that one piece of a request has, a multiple of the cluster size.
  uint64_t piece_size_max() const;

 private:
  enum class State {
    kInPlace,   // all subclusters hold data that nothing shares
    kReserved,  // the cluster is allocated, but some subclusters do not hold data
    kNew,       // a cluster is needed
  };
  // Consecutive clusters of a request that are written in the same way.
  struct Part {
    State state = State::kNew;
    GuestOffset begin;  // of the request
    GuestOffset end;
    GuestOffset copy_begin;  // including what is copied around it: [copy_begin, copy_end)
    GuestOffset copy_end;
    HostOffset host;  // of the cluster of `begin`, except kNew
    GuestOffset first_cluster(const layout::Geometry& geometry) const {
      return geometry.cluster_start(begin);
    }
  };

  Task<bool> write_in_place(GuestOffset offset, WriteBuffers from);
  std::optional<Part> part_in_memory(GuestOffset begin, GuestOffset end);
  Task<Part> part_at(GuestOffset begin, GuestOffset end);
  Part classify(const layout::L2Entry& entry, GuestOffset begin, GuestOffset end) const;
  void check_entry(const layout::L2Entry& entry, GuestOffset offset, uint64_t length) const;
  bool joins(const Part& part, const Part& next) const;
  Task<Part> write_new(Part part, WriteBuffers from);
  Task<void> withdraw_discards(Part part, HostOffset host);
  Task<void> write_reserved(Part part, WriteBuffers from);
  Task<Part> without_zeroes(Part part);
  // One storage write: the bytes copied before, `from`, the bytes copied after.
  Task<void> write_joined(Part part, HostOffset host, WriteBuffers from);
  Task<void> link(Part part, HostOffset host);
  Task<void> write_to(HostOffset host, WriteBuffers from);

  Context* context_;
  Mapping* mapping_;
  Reader* reader_;
  Allocator* allocator_;
  Linker* linker_;
  DeferredDiscards* discards_;
  OverlapCheck* overlap_;
};

}  // namespace byre::qcow2
