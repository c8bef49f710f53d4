// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "byre/error.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// The fixed part of a snapshot table entry (specification: "Snapshot table entry").
struct RawSnapshot {
  Be64 l1_table_offset;
  Be32 l1_size;
  Be16 id_size;
  Be16 name_size;
  Be32 date_sec;
  Be32 date_nsec;
  Be64 vm_clock_nsec;
  Be32 vm_state_size;
  Be32 extra_data_size;
};
static_assert(sizeof(RawSnapshot) == 40 && alignof(RawSnapshot) == 1);
static_assert(offsetof(RawSnapshot, l1_size) == 8);
static_assert(offsetof(RawSnapshot, id_size) == 12);
static_assert(offsetof(RawSnapshot, name_size) == 14);
static_assert(offsetof(RawSnapshot, date_sec) == 16);
static_assert(offsetof(RawSnapshot, date_nsec) == 20);
static_assert(offsetof(RawSnapshot, vm_clock_nsec) == 24);
static_assert(offsetof(RawSnapshot, vm_state_size) == 32);
static_assert(offsetof(RawSnapshot, extra_data_size) == 36);

// An entry of the snapshot table, host order. parse() has checked that it is well formed. Whether
// its L1 table can be used is a separate question, answered by validate_l1(), because a snapshot
// with a bad L1 table is a problem only for reading that snapshot.
struct Snapshot {
  HostOffset l1_table_offset;
  uint32_t l1_size = 0;  // entries
  std::string id;        // both up to a zero byte
  std::string name;
  uint32_t date_sec = 0;  // since the Epoch
  uint32_t date_nsec = 0;
  uint64_t vm_clock_nsec = 0;
  uint64_t vm_state_size = 0;  // bytes; 0: no VM state
  // Extra data, each field present if the entry is long enough. Version 3 must have disk_size.
  std::optional<uint64_t> disk_size;  // of the guest at the time
  std::optional<uint64_t> icount;     // executed guest instructions; all ones: not known
  // The extra data after the last known field; kept.
  std::vector<uint8_t> unknown_extra_data;
  // Whether the entry has the 64-bit VM state size, the first field of the extra data. A field is
  // present only if those before it are: icount needs disk_size, disk_size needs this one.
  bool has_large_vm_state_size = true;

  bool operator==(const Snapshot&) const = default;

  // The number of bytes that encode() returns, a multiple of 8.
  uint64_t encoded_size() const;
  std::vector<uint8_t> encode() const;

  // The virtual disk size to read the snapshot with: its own, or the image's if it has none.
  uint64_t disk_size_or(uint64_t image_size) const { return disk_size.value_or(image_size); }

  // Throws Error(kCorrupt or kUnsupported) if the L1 table is too large, is not at the start of a
  // cluster, or exceeds the range of file offsets.
  void validate_l1(const Geometry& geometry) const;
};

// Decodes a snapshot table, whose size is not known before its last entry, in bounded memory:
//
//   SnapshotTableDecoder decoder(header);
//   while (!decoder.done()) {
//     read decoder.wanted() bytes at decoder.offset() (zeroes past the end of file);
//     decoder.feed(bytes);
//   }
//
// feed() throws Error with entry and field. Each feed() of wanted()
// bytes decodes at least one entry or asks for more bytes, at most one entry's maximum.
class SnapshotTableDecoder {
 public:
  explicit SnapshotTableDecoder(const Header& header);

  // For a repair: extra data beyond the limit is truncated to the limit instead of throwing.
  // `on_cut` is called with the entry's index and the original size of its extra data.
  void cut_extra_data(std::function<void(size_t index, uint64_t size)> on_cut) {
    on_cut_ = std::move(on_cut);
  }

  bool done() const { return snapshots_.size() == count_; }
  // Entries decoded so far.
  size_t decoded() const { return snapshots_.size(); }
  HostOffset offset() const { return offset_; }
  uint64_t wanted() const { return wanted_; }
  void feed(ConstBytes bytes);
  // For a repair, after feed() has thrown at an entry whose extra data has an impossible size:
  // `bytes` are those at offset(). Looks for the id and the name after extra data of each size that
  // programs write, and accepts the entry if both are text. Returns false if no size gives text.
  bool feed_by_guess(ConstBytes bytes);

  // The entries decoded so far, all of them once done().
  std::vector<Snapshot> take() { return std::move(snapshots_); }
  // Bytes of the table decoded so far, the last entry's padding included.
  uint64_t table_size() const { return offset_ - start_; }

 private:
  void check_readable(uint64_t size) const;
  void check_table_size(uint64_t end) const;

  std::function<void(size_t, uint64_t)> on_cut_;
  uint32_t count_;
  HostOffset start_;
  HostOffset offset_;
  uint64_t wanted_;
  std::vector<Snapshot> snapshots_;
};

// The bytes of the whole table. Throws Error if it exceeds QEMU's limit.
std::vector<uint8_t> encode_snapshot_table(const std::vector<Snapshot>& snapshots);

}  // namespace byre::qcow2::layout
