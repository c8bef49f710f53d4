// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/types.h"
#include "qcow2/tables/l1_table.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

using layout::GuestOffset;
using layout::HostOffset;

// The state of a run of guest bytes: the five states of QEMU's documentation, extended to
// subclusters (specification: "Cluster mapping", "Extended L2 Entries").
enum class RunKind : uint8_t {
  kUnallocated,    // read from the backing file; zeroes without one
  kZeroPlain,      // reads as zeroes, no host cluster
  kZeroAllocated,  // reads as zeroes, a host cluster is reserved for it
  kData,           // stored at host_offset
  kCompressed,     // stored compressed; a run is at most one cluster
  kInvalid,        // inside Mapping only, never returned
};

// A run of guest bytes in one state, contiguous on the host if it has a host offset.
struct GuestRun {
  RunKind kind = RunKind::kUnallocated;
  GuestOffset guest_offset;
  uint64_t length = 0;  // above 0
  // The host offset of guest_offset, in the data file if there is one: always present for kData and
  // kZeroAllocated, and for kUnallocated if the subclusters belong to an allocated cluster (other
  // unallocated bytes are then a separate run). kCompressed: where the compressed bytes begin, with
  // has_host_offset false.
  bool has_host_offset = false;
  HostOffset host_offset;
  // kCompressed: the bytes that may belong to the compressed cluster, from host_offset to the end
  // of the last sector that the descriptor counts.
  uint64_t compressed_size = 0;
};

// Why a run is looked up.
enum class Lookup : uint8_t {
  kNow,    // a request needs it
  kAhead,  // speculative: a faulty entry throws, but does not mark the image corrupt
};

// Maps guest offsets to host offsets, through the L1 table and the cache of L2 tables. Part of
// ImageParts. It only reads; the writer changes entries through l2_slice() and the cache's slices.
//
// A run is valid when it is returned. Another coroutine may change the mapping at the next await,
// unless the caller holds Context::guest_lock for the range.
//
// Entries that break the format's rules (an offset inside a cluster, contradictory subclusters, an
// offset in an external data file that is not the guest's) throw Health::report_corruption(), which
// names the entry. The rules are those that QEMU applies when reading: reserved bits, and offsets
// that belong to something else, are left to the checker.
class Mapping {
 public:
  Mapping(Context* context, const L1Table* l1, TableCache* l2_cache)
      : context_(context), l1_(l1), l2_cache_(l2_cache) {}

  // The longest run that begins at guest_offset, as far as one L2 slice shows, at most `length`
  // bytes. Consecutive unallocated L1 entries are one run, however many there are. The range may
  // end past the disk's size, up to the end of its last cluster. The hot path: nullopt if the L2
  // slice is not in memory.
  // REQUIRES: `length` is above 0.
  std::optional<GuestRun> find_run(GuestOffset guest_offset, uint64_t length,
                                   Lookup lookup = Lookup::kNow);
  // The same, but reads the slice if necessary, and in the same read the following slices of its L2
  // table that map `length` bytes.
  Task<GuestRun> run_at(GuestOffset guest_offset, uint64_t length, Lookup lookup = Lookup::kNow);

  // The cached slice that holds the L2 entry of guest_offset, pinned; an empty Slice if its L1
  // entry is unallocated. If it must be read, the following slices that map `length` bytes are read
  // with it.
  Task<TableCache::Slice> l2_slice(GuestOffset guest_offset, Lookup lookup = Lookup::kNow,
                                   uint64_t length = 1);
  // The same, without I/O; also empty if the slice is not in memory.
  TableCache::Slice find_l2_slice(GuestOffset guest_offset);
  // The host offset of that slice: L2 table offset + slice offset.
  HostOffset l2_slice_offset(HostOffset l2_table_offset, GuestOffset guest_offset) const;
  // Index of the entry of guest_offset in its slice.
  uint32_t l2_slice_index(GuestOffset guest_offset) const;
  uint32_t entries_per_slice() const;
  // Guest bytes that one slice, and one whole L2 table, map.
  uint64_t bytes_per_slice() const;
  uint64_t bytes_per_l2_table() const;

  // What to throw for an L1 entry whose L2 table is not at the start of a cluster.
  Error unaligned_table(const layout::L1Entry& entry, uint64_t l1_index,
                        Lookup lookup = Lookup::kNow);

 private:
  // The L2 table for guest_offset, checked; 0 if there is none.
  HostOffset l2_table_of(GuestOffset guest_offset, Lookup lookup);
  GuestRun run_without_l2_table(GuestOffset guest_offset, uint64_t length) const;
  GuestRun run_in_slice(const TableCache::Slice& slice, GuestOffset guest_offset, uint64_t length,
                        Lookup lookup);
  uint32_t followers_in_run(const layout::L2Stretch& stretch, const GuestRun& run) const;
  GuestRun run_in_entry(const layout::L2Entry& entry, GuestOffset guest_offset) const;
  Error invalid_entry(const layout::L2Entry& entry, GuestOffset guest_offset, Lookup lookup);
  Error corruption(ErrorData finding, std::string sentence, Lookup lookup);

  Context* context_;
  const L1Table* l1_;
  TableCache* l2_cache_;
};

}  // namespace byre::qcow2
