// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "base/units.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/layout/l1_entry.h"

// Snapshots as disks of their own, and what they share.
namespace byre::qcow2 {

namespace {

using layout::L1Entry;

// Each snapshot of an image has caches, and they are read in order.
constexpr uint64_t kSnapshotCacheSize = kMiB;

bool is_zero(const GuestRun& run) {
  return run.kind == RunKind::kZeroPlain || run.kind == RunKind::kZeroAllocated;
}

bool is_same(const GuestRun& one, const GuestRun& other) {
  if (is_zero(one) && is_zero(other)) return true;
  if (one.kind != other.kind) return false;
  return one.kind == RunKind::kUnallocated || one.host_offset == other.host_offset;
}

Task<GuestRun> run_of(ImageParts* parts, GuestOffset offset, uint64_t length) {
  std::optional<GuestRun> run = parts->mapping.find_run(offset, length);
  if (!run) run = co_await parts->mapping.run_at(offset, length);
  co_return *run;
}

}  // namespace

Task<std::unique_ptr<Image>> Image::open_snapshot(size_t index,
                                                  std::unique_ptr<BlockDevice> file) const {
  BYRE_ASSERT(is_read_only());
  const layout::Snapshot& snapshot = snapshots()[index];
  snapshot.validate_l1(geometry());
  const Context& context = parts_->context;
  LoadedImage loaded{.file = std::move(file), .options = context.options};
  loaded.options.cache = {.l2_cache_size = kSnapshotCacheSize,
                          .refcount_cache_size = kSnapshotCacheSize};
  loaded.first_cluster = {.header = context.header(),
                          .extensions = context.extensions(),
                          .backing_file_name = context.header_store.backing_file_name()};
  layout::Header& header = loaded.first_cluster.header;
  header.size = valid_disk_size(snapshot, size(), geometry());
  header.l1_table_offset = snapshot.l1_table_offset;
  header.l1_size = snapshot.l1_size;
  loaded.cache_sizes = CacheSizes::of(loaded.options.cache, geometry(), header.size);
  loaded.l1 = co_await load_snapshot_l1(loaded.file.get(), &snapshot);
  co_return std::make_unique<Image>(std::make_unique<ImageParts>(std::move(loaded)));
}

uint64_t Image::l2_table_at(uint64_t offset) const {
  const uint64_t index = geometry().l1_index(GuestOffset(offset));
  return L1Entry(parts_->tables.l1.entry(index)).offset().value();
}

Task<Image::Sharing> Image::sharing_with(const Image& other, uint64_t offset,
                                         uint64_t length) const {
  const uint64_t end = offset + length;
  const uint64_t table_bytes = geometry().l2_coverage();
  uint64_t at = offset;
  while (at < end && l2_table_at(at) == other.l2_table_at(at)) {
    at = std::min(end, align_down(at, table_bytes) + table_bytes);
  }
  if (at > offset) co_return Sharing{.length = at - offset, .is_same = true};
  const uint64_t table_end = std::min(end, align_down(at, table_bytes) + table_bytes);
  const GuestRun own = co_await run_of(parts_.get(), GuestOffset(offset), table_end - offset);
  const GuestRun run = co_await run_of(other.parts_.get(), GuestOffset(offset), table_end - offset);
  co_return Sharing{.length = std::min(own.length, run.length), .is_same = is_same(own, run)};
}

}  // namespace byre::qcow2
