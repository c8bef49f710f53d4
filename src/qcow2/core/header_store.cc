// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/header_store.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <new>
#include <utility>
#include <vector>

#include "base/units.h"
#include "block/read_zero_padded.h"
#include "byre/error.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {

using layout::RawHeader;

Task<void> HeaderStore::write(size_t offset, ConstBytes bytes) {
  // Made before it is needed: then there may be no memory for it.
  const Error no_memory(ErrorKind::kNoMemory, ENOMEM, errno_text(ENOMEM));
  std::exception_ptr error;
  bool is_begun = false;
  try {
    co_await file_->flush();
    // What the header is about to name may have been lost by another flush that failed. Feature
    // bits do not name anything, and one of them records damage.
    const bool names_tables = offset != offsetof(RawHeader, incompatible_features);
    if (names_tables) health_->check_not_failed();
    const WriteBuffers from(bytes);
    is_begun = true;
    co_await file_->write(offset, from);
    co_await file_->flush();
    if (names_tables) health_->check_not_failed();
  } catch (const Error& failure) {
    health_->note_failure(failure, Health::Operation::kFlush);
    error = std::current_exception();
  } catch (const std::bad_alloc&) {
    if (is_begun) health_->note_failure(no_memory, Health::Operation::kFlush);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

Task<void> HeaderStore::set_refcount_table(layout::HostOffset offset, uint32_t clusters) {
  static_assert(offsetof(RawHeader, refcount_table_clusters) ==
                offsetof(RawHeader, refcount_table_offset) + 8);
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[12];
  store_big_endian<uint64_t>(bytes, offset.value());
  store_big_endian<uint32_t>(bytes + 8, clusters);
  co_await write(offsetof(RawHeader, refcount_table_offset), ConstBytes(bytes));
  first_cluster_.header.refcount_table_offset = offset;
  first_cluster_.header.refcount_table_clusters = clusters;
}

// One write, so that a block is never read with entries of another width.
Task<void> HeaderStore::set_refcounts(layout::HostOffset table, uint32_t clusters, uint32_t order) {
  constexpr size_t kBegin = offsetof(RawHeader, refcount_table_offset);
  constexpr size_t kEnd = offsetof(RawHeader, header_length);
  const Mutex::Guard guard = co_await mutex_.lock();
  layout::Header now = first_cluster_.header;
  now.refcount_table_offset = table;
  now.refcount_table_clusters = clusters;
  now.refcount_order = order;
  const std::vector<uint8_t> bytes = now.encode();
  co_await write(kBegin, ConstBytes(bytes).subspan(kBegin, kEnd - kBegin));
  first_cluster_.header.refcount_table_offset = table;
  first_cluster_.header.refcount_table_clusters = clusters;
  first_cluster_.header.refcount_order = order;
}

Task<void> HeaderStore::set_l1_table(layout::HostOffset offset, uint32_t entries) {
  static_assert(offsetof(RawHeader, l1_table_offset) == offsetof(RawHeader, l1_size) + 4);
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[12];
  store_big_endian<uint32_t>(bytes, entries);
  store_big_endian<uint64_t>(bytes + 4, offset.value());
  co_await write(offsetof(RawHeader, l1_size), ConstBytes(bytes));
  first_cluster_.header.l1_size = entries;
  first_cluster_.header.l1_table_offset = offset;
}

Task<void> HeaderStore::set_size(uint64_t size) {
  const Mutex::Guard guard = co_await mutex_.lock();
  uint8_t bytes[8];
  store_big_endian<uint64_t>(bytes, size);
  co_await write(offsetof(RawHeader, size), ConstBytes(bytes));
  first_cluster_.header.size = size;
}

HeaderStore::TableSet HeaderStore::tables() const {
  const layout::Header& now = header();
  return {.size = now.size,
          .l1_table = now.l1_table_offset,
          .l1_entries = now.l1_size,
          .refcount_table = now.refcount_table_offset,
          .refcount_table_clusters = now.refcount_table_clusters,
          .snapshot_table = now.snapshots_offset,
          .snapshots = now.snapshot_count};
}

Task<void> HeaderStore::set_tables(TableSet tables) {
  constexpr size_t kBegin = offsetof(RawHeader, size);
  constexpr size_t kEnd = offsetof(RawHeader, incompatible_features);
  const Mutex::Guard guard = co_await mutex_.lock();
  layout::Header& now = first_cluster_.header;
  uint8_t bytes[kEnd - kBegin];
  const auto at = [&bytes](size_t offset) { return bytes + (offset - kBegin); };
  store_big_endian<uint64_t>(at(offsetof(RawHeader, size)), tables.size);
  store_big_endian<uint32_t>(at(offsetof(RawHeader, crypt_method)),
                             static_cast<uint32_t>(now.crypt_method));
  store_big_endian<uint32_t>(at(offsetof(RawHeader, l1_size)), tables.l1_entries);
  store_big_endian<uint64_t>(at(offsetof(RawHeader, l1_table_offset)), tables.l1_table.value());
  store_big_endian<uint64_t>(at(offsetof(RawHeader, refcount_table_offset)),
                             tables.refcount_table.value());
  store_big_endian<uint32_t>(at(offsetof(RawHeader, refcount_table_clusters)),
                             tables.refcount_table_clusters);
  store_big_endian<uint32_t>(at(offsetof(RawHeader, nb_snapshots)), tables.snapshots);
  store_big_endian<uint64_t>(at(offsetof(RawHeader, snapshots_offset)),
                             tables.snapshot_table.value());
  co_await write(kBegin, ConstBytes(bytes));
  now.size = tables.size;
  now.l1_size = tables.l1_entries;
  now.l1_table_offset = tables.l1_table;
  now.refcount_table_offset = tables.refcount_table;
  now.refcount_table_clusters = tables.refcount_table_clusters;
  now.snapshot_count = tables.snapshots;
  now.snapshots_offset = tables.snapshot_table;
}

Task<void> HeaderStore::change_features(FeatureChange change) {
  static_assert(offsetof(RawHeader, autoclear_features) ==
                offsetof(RawHeader, incompatible_features) + 16);
  const Mutex::Guard guard = co_await mutex_.lock();
  layout::Header& now = first_cluster_.header;
  const uint64_t incompatible =
      (now.incompatible_features | change.incompatible_set) & ~change.incompatible_cleared;
  const uint64_t compatible =
      (now.compatible_features | change.compatible_set) & ~change.compatible_cleared;
  const uint64_t autoclear = now.autoclear_features & ~change.autoclear_cleared;
  if (incompatible == now.incompatible_features && compatible == now.compatible_features &&
      autoclear == now.autoclear_features) {
    co_return;
  }
  uint8_t bytes[24];
  store_big_endian<uint64_t>(bytes, incompatible);
  store_big_endian<uint64_t>(bytes + 8, compatible);
  store_big_endian<uint64_t>(bytes + 16, autoclear);
  co_await write(offsetof(RawHeader, incompatible_features), ConstBytes(bytes));
  now.incompatible_features = incompatible;
  now.compatible_features = compatible;
  now.autoclear_features = autoclear;
}

namespace {

Error invalid_name(Literal code, Literal field, uint64_t value, uint64_t bound) {
  return Error(ErrorKind::kInvalidArgument, EINVAL,
               ErrorData{.code = code, .field = field, .value = value, .bound = bound},
               fmt::format("{} has {} bytes; at most {} are allowed", field.view(), value, bound));
}

void check_names(const layout::Header& header, const std::string& name, const std::string& format) {
  namespace limits = layout::limits;
  if (name.size() > limits::kBackingFileNameSizeMax) {
    throw invalid_name("qcow2-new-backing-name-too-long", "the backing file name", name.size(),
                       limits::kBackingFileNameSizeMax);
  }
  if (format.size() > limits::kBackingFormatSizeMax) {
    throw invalid_name("qcow2-new-backing-format-too-long", "the backing file format",
                       format.size(), limits::kBackingFormatSizeMax);
  }
  if (!name.empty() && header.has_raw_external_data()) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = "qcow2-backing-of-raw-data"},
                "an image whose external data file is raw cannot have a backing file");
  }
}

// The part of [begin, end) in which the two differ, from the first such byte to the last.
std::pair<size_t, size_t> difference(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b,
                                     size_t begin, size_t end) {
  while (begin < end && a[begin] == b[begin]) ++begin;
  while (begin < end && a[end - 1] == b[end - 1]) --end;
  return {begin, end};
}

}  // namespace

// Without flushing: nothing depends on these bytes yet.
Task<void> HeaderStore::write_tail(const std::vector<uint8_t>* now,
                                   const std::vector<uint8_t>* next) {
  const auto [begin, end] = difference(*now, *next, kSectorSize, next->size());
  if (begin == end) co_return;
  const WriteBuffers tail(ConstBytes(*next).subspan(begin, end - begin));
  co_await file_->write(begin, tail);
}

Task<void> HeaderStore::perform(const layout::HeaderRewrite* rewrite,
                                const std::vector<uint8_t>* before) {
  const std::vector<uint8_t>* now = before;
  for (const std::vector<uint8_t>& next : rewrite->steps) {
    if (rewrite->is_atomic) co_await write_tail(now, &next);
    const size_t sector = rewrite->is_atomic ? kSectorSize : next.size();
    const auto [begin, end] = difference(*now, next, 0, sector);
    if (begin < end) co_await write(begin, ConstBytes(next).subspan(begin, end - begin));
    now = &next;
  }
}

void HeaderStore::check_backing_file(const std::string& name, const std::string& format) const {
  check_names(header(), name, format);
  layout::HeaderCluster target = first_cluster_;
  target.backing_file_name = name;
  target.extensions.backing_format.reset();
  if (!format.empty()) target.extensions.backing_format = format;
  target.extensions.feature_names.reset();
  target.encode();
}

Task<std::vector<uint8_t>> HeaderStore::read_first_cluster() {
  std::vector<uint8_t> bytes(header().cluster_size());
  const ReadBuffers to((Bytes(bytes)));
  co_await read_zero_padded(file_, 0, to);
  co_return bytes;
}

Task<void> HeaderStore::rewrite(const std::vector<uint8_t>* before, layout::HeaderCluster target) {
  const auto rewrite = layout::HeaderRewrite::plan(*before, std::move(target));
  auto after = layout::HeaderCluster::parse(rewrite.cleared, {.for_check = true});
  co_await perform(&rewrite, before);
  first_cluster_ = std::move(after);
  try {
    co_await write_tail(&rewrite.steps.back(), &rewrite.cleared);
  } catch (const std::exception&) {
    // Nobody reads these bytes.
  }
}

Task<void> HeaderStore::replace(layout::HeaderCluster target) {
  const Mutex::Guard guard = co_await mutex_.lock();
  const std::vector<uint8_t> before = co_await read_first_cluster();
  co_await rewrite(&before, std::move(target));
}

Task<void> HeaderStore::set_backing_file(std::string name, std::string format) {
  check_names(header(), name, format);
  const Mutex::Guard guard = co_await mutex_.lock();
  const std::vector<uint8_t> before = co_await read_first_cluster();
  layout::HeaderCluster target = layout::HeaderCluster::parse(before, {.for_check = true});
  target.backing_file_name = std::move(name);
  target.extensions.backing_format.reset();
  if (!format.empty()) target.extensions.backing_format = std::move(format);
  co_await rewrite(&before, std::move(target));
}

Task<void> HeaderStore::mark_if_corrupt() {
  if (!health_->must_be_marked_corrupt() || header().version < 3 || header().is_corrupt()) {
    co_return;
  }
  const FeatureChange corrupt{.incompatible_set = layout::incompatible::kCorrupt};
  co_await change_features(corrupt);
}

}  // namespace byre::qcow2
