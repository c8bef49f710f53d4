// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/types.h"
#include "qcow2/tables/l1_table.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

using layout::GuestOffset;
using layout::HostOffset;

// What the mapping says about a run of guest bytes. The five states of QEMU's documentation, with
// subclusters counted in (specification: "Cluster mapping", "Extended L2 Entries").
enum class RunKind : uint8_t {
  kUnallocated,    // the backing file decides; zeroes without one
  kZeroPlain,      // reads as zeroes, no host cluster
  kZeroAllocated,  // reads as zeroes, a host cluster is reserved for it
  kData,           // stored at host_offset
  kCompressed,     // stored compressed; a run is at most one cluster
  kInvalid,        // inside Mapping only: no run that it returns is
};

// A run of guest bytes in one state, host-contiguous where it has a host place.
struct Run {
  RunKind kind = RunKind::kUnallocated;
  GuestOffset guest_offset;
  uint64_t length = 0;  // above 0
  // The host place of guest_offset, in the data file if there is one: always for kData and
  // kZeroAllocated, and for kUnallocated where the subclusters belong to an allocated cluster
  // (other unallocated bytes make a run of their own then). kCompressed: where the compressed bytes
  // begin, with has_host_offset false.
  bool has_host_offset = false;
  HostOffset host_offset;
  // kCompressed: the bytes that may belong to the compressed cluster, from host_offset on, to the
  // end of the last sector that the descriptor counts.
  uint64_t compressed_size = 0;
};

// Why a run is looked up.
enum class Lookup : uint8_t {
  kNow,    // somebody needs it
  kAhead,  // perhaps somebody will: a faulty entry is an Error, but the image is not corrupt for it
};

// From guest places to host places, through the L1 table and the cache of L2 tables. Part of the
// image's State. It only reads; the writer changes entries through l2_slice() and the cache's
// guards.
//
// A run is true when it is returned. Another coroutine may change the mapping at the next await,
// unless the caller holds Context::guest_lock for the range.
//
// Entries that break the format's rules (an offset inside a cluster, contradictory subclusters, a
// place in an external data file that is not the guest's) are Health::report_corruption(), which names the
// entry. The rules are those that QEMU holds a reader to: a reserved bit, or a place that belongs
// to something else, is a matter for the checker.
class Mapping {
 public:
  Mapping(Context* context, const L1Table* l1, TableCache* l2_cache)
      : context_(context), l1_(l1), l2_cache_(l2_cache) {}

  // The longest run known from one L2 slice that begins at guest_offset, at most `length` bytes.
  // Unallocated L1 entries are skipped whole, however many follow one another. Length above 0;
  // the range may end past the disk's size, up to the end of its last cluster.
  // The hot path: nothing when the L2 slice is not in memory.
  std::optional<Run> find_run(GuestOffset guest_offset, uint64_t length,
                              Lookup lookup = Lookup::kNow);
  // The same; reads the slice where it must, and in the same read what else of its L2 table maps
  // `length` bytes.
  Task<Run> run_at(GuestOffset guest_offset, uint64_t length, Lookup lookup = Lookup::kNow);

  // The cached slice that holds the L2 entry of guest_offset, pinned; an empty guard where its L1
  // entry is unallocated. Where it must be read, slices behind it that map `length` bytes come
  // along.
  Task<TableCache::Slice> l2_slice(GuestOffset guest_offset, Lookup lookup = Lookup::kNow,
                                   uint64_t length = 1);
  // The same; empty also where it is not in memory.
  TableCache::Slice find_l2_slice(GuestOffset guest_offset);
  // Where in an L2 table's file bytes that slice begins: L2 table offset + slice offset.
  HostOffset l2_slice_offset(HostOffset l2_table_offset, GuestOffset guest_offset) const;
  // Index of the entry of guest_offset in its slice.
  uint32_t l2_slice_index(GuestOffset guest_offset) const;
  uint32_t entries_per_slice() const;
  // Guest bytes that one slice, and one whole L2 table, map.
  uint64_t bytes_per_slice() const;
  uint64_t bytes_per_l2_table() const;

 private:
  // The L2 table for guest_offset, checked; 0 where there is none.
  HostOffset l2_table_of(GuestOffset guest_offset, Lookup lookup);
  Run run_without_l2_table(GuestOffset guest_offset, uint64_t length) const;
  Run run_in_slice(const TableCache::Slice& slice, GuestOffset guest_offset, uint64_t length,
                   Lookup lookup);
  uint32_t followers_in_run(const layout::L2Stretch& stretch, const Run& run) const;
  Run run_in_entry(const layout::L2Entry& entry, GuestOffset guest_offset) const;
  Error invalid_entry(const layout::L2Entry& entry, GuestOffset guest_offset, Lookup lookup);
  Error corruption(const std::string& finding, Lookup lookup);

  Context* context_;
  const L1Table* l1_;
  TableCache* l2_cache_;
};

}  // namespace byre::qcow2
