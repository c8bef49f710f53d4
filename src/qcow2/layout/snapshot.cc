// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/snapshot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/checked.h"
#include "base/units.h"
#include "qcow2/layout/text.h"

namespace byre::qcow2::layout {
namespace {

// One read covers many small entries; the largest entry is read separately.
constexpr uint64_t kReadSize = 64 * kKiB;

uint64_t unpadded_size(const RawSnapshot& raw) {
  return sizeof raw + uint64_t{raw.extra_data_size} + raw.id_size + raw.name_size;
}

RawSnapshot load_raw(ConstBytes bytes) {
  RawSnapshot raw;
  std::memcpy(static_cast<void*>(&raw), bytes.data(), sizeof raw);
  return raw;
}

void check_extra_data(const RawSnapshot& raw, size_t index) {
  if (raw.extra_data_size <= limits::kSnapshotExtraDataSizeMax) return;
  throw Error(ErrorKind::kUnsupported, EFBIG,
              ErrorData{.code = "qcow2-snapshot-extra-data-too-large",
                        .field = "extra_data_size",
                        .value = raw.extra_data_size,
                        .bound = limits::kSnapshotExtraDataSizeMax,
                        .index = index},
              fmt::format("extra_data_size of snapshot table entry {} is {}; at most {} bytes are "
                          "supported",
                          index, uint32_t{raw.extra_data_size}, limits::kSnapshotExtraDataSizeMax));
}

// Removes the first 8 bytes from the rest of the extra data and returns them, if there are as many.
std::optional<uint64_t> take_field(ConstBytes& extra) {
  if (extra.size() < 8) return std::nullopt;
  const uint64_t value = load_big_endian<uint64_t>(extra.data());
  extra = extra.subspan(8);
  return value;
}

// REQUIRES: `bytes` has at least unpadded_size(raw) bytes.
Snapshot decode(const RawSnapshot& raw, ConstBytes bytes) {
  Snapshot snapshot;
  snapshot.l1_table_offset = HostOffset(raw.l1_table_offset);
  snapshot.l1_size = raw.l1_size;
  snapshot.date_sec = raw.date_sec;
  snapshot.date_nsec = raw.date_nsec;
  snapshot.vm_clock_nsec = raw.vm_clock_nsec;
  const uint64_t extra_size =
      std::min<uint64_t>(raw.extra_data_size, limits::kSnapshotExtraDataSizeMax);
  ConstBytes extra = bytes.subspan(sizeof raw, extra_size);
  const std::optional<uint64_t> vm_state_size = take_field(extra);
  snapshot.has_large_vm_state_size = vm_state_size.has_value();
  snapshot.vm_state_size = vm_state_size.value_or(raw.vm_state_size);
  if (vm_state_size) snapshot.disk_size = take_field(extra);
  if (snapshot.disk_size) snapshot.icount = take_field(extra);
  snapshot.unknown_extra_data.assign(extra.begin(), extra.end());
  const ConstBytes strings = bytes.subspan(sizeof raw + raw.extra_data_size);
  snapshot.id = text_of(strings.first(raw.id_size));
  snapshot.name = text_of(strings.subspan(raw.id_size, raw.name_size));
  return snapshot;
}

void append(std::vector<uint8_t>& bytes, const auto& part) {
  bytes.insert(bytes.end(), part.begin(), part.end());
}

uint64_t extra_data_size(const Snapshot& snapshot) {
  const uint64_t fields = (snapshot.has_large_vm_state_size ? 1 : 0) +
                          (snapshot.disk_size ? 1 : 0) + (snapshot.icount ? 1 : 0);
  return fields * 8 + snapshot.unknown_extra_data.size();
}

void encode_extra_data(const Snapshot& snapshot, std::vector<uint8_t>& bytes) {
  // A field requires those before it.
  BYRE_ASSERT(!snapshot.icount || snapshot.disk_size);
  BYRE_ASSERT(!snapshot.disk_size || snapshot.has_large_vm_state_size);
  BYRE_ASSERT(snapshot.has_large_vm_state_size || snapshot.vm_state_size <= UINT32_MAX);
  const auto add = [&bytes](uint64_t value) {
    bytes.resize(bytes.size() + 8);
    store_big_endian(bytes.data() + bytes.size() - 8, value);
  };
  if (snapshot.has_large_vm_state_size) add(snapshot.vm_state_size);
  if (snapshot.disk_size) add(*snapshot.disk_size);
  if (snapshot.icount) add(*snapshot.icount);
  append(bytes, snapshot.unknown_extra_data);
}

}  // namespace

uint64_t Snapshot::encoded_size() const {
  return align_up(sizeof(RawSnapshot) + extra_data_size(*this) + id.size() + name.size(), 8);
}

std::vector<uint8_t> Snapshot::encode() const {
  BYRE_ASSERT(id.size() <= limits::kSnapshotIdSizeMax);
  BYRE_ASSERT(name.size() <= limits::kSnapshotNameSizeMax);
  BYRE_ASSERT(extra_data_size(*this) <= limits::kSnapshotExtraDataSizeMax);
  RawSnapshot raw;
  raw.l1_table_offset = l1_table_offset.value();
  raw.l1_size = l1_size;
  raw.id_size = static_cast<uint16_t>(id.size());
  raw.name_size = static_cast<uint16_t>(name.size());
  raw.date_sec = date_sec;
  raw.date_nsec = date_nsec;
  raw.vm_clock_nsec = vm_clock_nsec;
  raw.vm_state_size = vm_state_size <= UINT32_MAX ? static_cast<uint32_t>(vm_state_size) : 0;
  raw.extra_data_size = static_cast<uint32_t>(extra_data_size(*this));
  std::vector<uint8_t> bytes;
  bytes.reserve(encoded_size());
  const auto* start = reinterpret_cast<const uint8_t*>(&raw);
  bytes.assign(start, start + sizeof raw);
  encode_extra_data(*this, bytes);
  append(bytes, id);
  append(bytes, name);
  bytes.resize(encoded_size());
  return bytes;
}

void Snapshot::validate_l1(const Geometry& geometry) const {
  const std::string which = fmt::format("snapshot {} ({})", id, name);
  const uint64_t offset = l1_table_offset.value();
  const auto refuse = [&](ErrorKind kind, int errno_value, Literal code, std::string why) {
    throw Error(kind, errno_value,
                ErrorData{.code = code, .field = "l1_table_offset", .value = offset, .name = name},
                fmt::format("l1_table_offset of {} is 0x{:x}{}", which, offset, why));
  };
  if (l1_size > limits::kSnapshotL1EntriesMax) {
    throw Error(ErrorKind::kUnsupported, EFBIG,
                ErrorData{.code = "qcow2-snapshot-l1-table-too-large",
                          .field = "l1_size",
                          .value = l1_size,
                          .bound = limits::kSnapshotL1EntriesMax,
                          .name = name},
                fmt::format("l1_size of {} is {}; at most {} entries are supported", which, l1_size,
                            limits::kSnapshotL1EntriesMax));
  }
  const uint64_t size = uint64_t{l1_size} * 8;
  constexpr Literal kOffsetInvalid = "qcow2-snapshot-l1-table-offset-invalid";
  if (!geometry.is_cluster_aligned(l1_table_offset)) {
    refuse(ErrorKind::kCorrupt, EINVAL, kOffsetInvalid,
           fmt::format(", not a multiple of the cluster size {}", geometry.cluster_size()));
  }
  if (!range_fits(offset, size, limits::kFileSizeMax)) {
    refuse(ErrorKind::kCorrupt, EINVAL, kOffsetInvalid,
           fmt::format(", too high for a table of {} bytes", size));
  }
  if (!range_fits(offset, size, limits::kDeviceSizeMax)) {
    refuse(ErrorKind::kIo, EIO, "qcow2-snapshot-l1-table-past-end",
           fmt::format("; no file has a table of {} bytes there", size));
  }
}

SnapshotTableDecoder::SnapshotTableDecoder(const Header& header)
    : count_(header.snapshot_count),
      start_(header.snapshots_offset),
      offset_(header.snapshots_offset),
      wanted_(kReadSize) {
  header.check_snapshot_table();
  check_readable(sizeof(RawSnapshot) * uint64_t{count_});
}

void SnapshotTableDecoder::check_readable(uint64_t size) const {
  if (count_ == 0 || range_fits(offset_.value(), size, limits::kDeviceSizeMax)) return;
  throw Error(ErrorKind::kIo, EIO,
              ErrorData{.code = "qcow2-snapshot-table-past-end",
                        .bound = limits::kDeviceSizeMax,
                        .index = snapshots_.size(),
                        .offset = offset_.value()},
              fmt::format("snapshot table entry {} is at 0x{:x}; no file has {} bytes there",
                          snapshots_.size(), offset_.value(), size));
}

void SnapshotTableDecoder::check_table_size(uint64_t end) const {
  if (end <= limits::kSnapshotTableSizeMax) return;
  throw Error(ErrorKind::kUnsupported, EFBIG,
              ErrorData{.code = "qcow2-snapshot-table-too-large",
                        .value = end,
                        .bound = limits::kSnapshotTableSizeMax,
                        .index = snapshots_.size()},
              fmt::format("snapshot table entry {} ends {} bytes past the start of the table; at "
                          "most {} are supported",
                          snapshots_.size(), end, limits::kSnapshotTableSizeMax));
}

void SnapshotTableDecoder::feed(ConstBytes bytes) {
  wanted_ = kReadSize;
  while (!done()) {
    if (bytes.size() < sizeof(RawSnapshot)) break;
    const RawSnapshot raw = load_raw(bytes);
    if (!on_cut_) check_extra_data(raw, snapshots_.size());
    const uint64_t size = unpadded_size(raw);
    check_table_size(table_size() + size);
    if (bytes.size() < size) {
      wanted_ = std::max(wanted_, size);
      break;
    }
    if (raw.extra_data_size > limits::kSnapshotExtraDataSizeMax) {
      on_cut_(snapshots_.size(), raw.extra_data_size);
    }
    snapshots_.push_back(decode(raw, bytes));
    const uint64_t padded = align_up(size, 8);
    offset_ += padded;
    // The padding of the last entry may not have been read.
    bytes = bytes.subspan(std::min<uint64_t>(padded, bytes.size()));
  }
  if (!done()) check_readable(wanted_);
}

bool SnapshotTableDecoder::feed_by_guess(ConstBytes bytes) {
  if (done() || bytes.size() < sizeof(RawSnapshot)) return false;
  RawSnapshot raw = load_raw(bytes);
  const auto is_text = [](const std::string& text, uint16_t size) {
    return text.size() == size && std::ranges::all_of(text, [](char c) {
             return static_cast<uint8_t>(c) >= ' ' && c != '\x7f';
           });
  };
  for (const uint32_t extra_size : {24u, 16u, 8u, 0u}) {
    raw.extra_data_size = extra_size;
    const uint64_t size = unpadded_size(raw);
    if (size > bytes.size() || table_size() + size > limits::kSnapshotTableSizeMax) continue;
    Snapshot snapshot = decode(raw, bytes);
    if (raw.id_size == 0 || !is_text(snapshot.id, raw.id_size)) continue;
    if (!is_text(snapshot.name, raw.name_size)) continue;
    const ConstBytes padding = bytes.subspan(size);
    const uint64_t padding_size = std::min<uint64_t>(align_up(size, 8) - size, padding.size());
    if (!is_all_zero(padding.first(padding_size))) continue;
    snapshots_.push_back(std::move(snapshot));
    offset_ += align_up(size, 8);
    wanted_ = kReadSize;
    return true;
  }
  return false;
}

std::vector<uint8_t> encode_snapshot_table(const std::vector<Snapshot>& snapshots) {
  uint64_t size = 0;
  for (const Snapshot& snapshot : snapshots) size += snapshot.encoded_size();
  if (snapshots.size() > limits::kSnapshotsMax || size > limits::kSnapshotTableSizeMax) {
    throw Error(
        ErrorKind::kUnsupported, EFBIG,
        ErrorData{.code = "qcow2-snapshots-too-large",
                  .value = size,
                  .bound = limits::kSnapshotTableSizeMax},
        fmt::format("{} snapshots would take {} bytes of the snapshot table; at most {} "
                    "snapshots and {} bytes are supported",
                    snapshots.size(), size, limits::kSnapshotsMax, limits::kSnapshotTableSizeMax));
  }
  std::vector<uint8_t> table;
  table.reserve(size);
  for (const Snapshot& snapshot : snapshots) append(table, snapshot.encode());
  return table;
}

}  // namespace byre::qcow2::layout
