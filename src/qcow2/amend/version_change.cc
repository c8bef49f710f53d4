// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/version_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "qcow2/amend/zero_expansion.h"
#include "qcow2/bitmaps/bitmap_clusters.h"
#include "qcow2/layout/limits.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/tables.h"
#include "qcow2/update/table_update.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

using layout::Snapshot;

namespace {

constexpr uint32_t kVersion2RefcountBits = 16;

Error not_in_version_2(ErrorData data, std::string sentence) {
  return Error(ErrorKind::kUnsupported, ENOTSUP, std::move(data), std::move(sentence));
}

uint64_t table_size(const std::vector<Snapshot>& snapshots) {
  uint64_t size = 0;
  for (const Snapshot& snapshot : snapshots) size += snapshot.encoded_size();
  return size;
}

bool is_complete(const Snapshot& snapshot) {
  return snapshot.has_large_vm_state_size && snapshot.disk_size;
}

}  // namespace

// In QEMU's order.
void VersionChange::check_downgrade(const Downgrade& wanted) const {
  const layout::Header& header = context_->header();
  if (wanted.refcount_bits != kVersion2RefcountBits) {
    throw not_in_version_2({.code = "qcow2-downgrade-with-refcount-bits",
                            .value = wanted.refcount_bits,
                            .bound = kVersion2RefcountBits},
                           fmt::format("refcounts have {} bits, in version 2 they have {}",
                                       wanted.refcount_bits, kVersion2RefcountBits));
  }
  if (header.has_external_data_file()) {
    throw not_in_version_2({.code = "qcow2-downgrade-with-data-file"},
                           "the image has an external data file, which version 2 does not have");
  }
  for (const Snapshot& snapshot : *snapshots_) {
    const bool fits = snapshot.vm_state_size <= UINT32_MAX &&
                      snapshot.disk_size_or(context_->disk_size()) == wanted.size;
    if (fits) continue;
    throw not_in_version_2(
        {.code = "qcow2-downgrade-with-snapshots", .name = snapshot.name},
        fmt::format("snapshot '{}' has another disk size or a VM state of 4 GiB or more, which "
                    "version 2 does not have",
                    snapshot.name));
  }
  const uint64_t features = header.incompatible_features & ~layout::incompatible::kDirty;
  if (features != 0) {
    throw not_in_version_2(
        {.code = "qcow2-downgrade-with-features",
         .field = "incompatible_features",
         .value = features},
        fmt::format("incompatible_features is {:#x}, and version 2 has no features", features));
  }
  if (context_->extensions().bitmaps && !wanted.drops_bitmaps) {
    throw not_in_version_2({.code = "qcow2-downgrade-with-bitmaps"},
                           "the image has bitmaps, which version 2 cannot keep valid");
  }
}

// The entries of version 2 may lack them.
Task<void> VersionChange::complete_snapshots() {
  if (std::ranges::all_of(*snapshots_, is_complete)) co_return;
  std::vector<Snapshot> snapshots = *snapshots_;
  for (Snapshot& snapshot : snapshots) {
    snapshot.has_large_vm_state_size = true;
    snapshot.disk_size = snapshot.disk_size_or(context_->disk_size());
  }
  const std::vector<uint8_t> table = layout::encode_snapshot_table(snapshots);
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  TableUpdate::Result result = update.unchanged();
  result.snapshot_table = co_await update.write_table(table);
  co_await update.drop_table(context_->header().snapshots_offset, table_size(*snapshots_));
  co_await update.commit(result);
  *snapshots_ = std::move(snapshots);
  co_await update.finish(FreeCause::kOther);
}

Task<void> VersionChange::replace_header(layout::HeaderCluster target) {
  co_await context_->header_store.replace(std::move(target));
  context_->geometry = layout::Geometry(context_->header());
}

Task<void> VersionChange::upgrade() {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (context_->header().version >= 3) co_return;
  co_await flusher_->settle();
  co_await complete_snapshots();
  layout::HeaderCluster target = context_->header_store.first_cluster();
  target.header.version = 3;
  target.header.header_length = layout::limits::kHeaderSizeWritten;
  if (target.header.cluster_size() >= layout::limits::kFeatureNamesClusterSizeMin) {
    target.extensions.feature_names = layout::known_feature_names();
  }
  co_await replace_header(std::move(target));
}

Task<void> VersionChange::downgrade(bool drops_bitmaps, AmendProgress on_progress) {
  const RangeLock::Guard guard =
      co_await context_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (context_->header().version < 3) co_return;
  check_downgrade({context_->disk_size(), context_->geometry.refcount_bits(), drops_bitmaps});
  co_await flusher_->settle();
  const std::vector<ClusterRange> freed = co_await clusters_of_bitmaps(context_, *bitmaps_);
  ZeroExpansion expansion(context_, tables_, snapshots_, refcounts_, allocator_, flusher_,
                          overlap_);
  co_await expansion.run(std::move(on_progress));
  layout::HeaderCluster target = context_->header_store.first_cluster();
  target.header.version = 2;
  target.header.header_length = layout::limits::kHeaderSizeV2;
  target.header.incompatible_features = 0;
  target.header.compatible_features = 0;
  target.header.autoclear_features = 0;
  target.header.additional_fields.clear();
  target.extensions.feature_names.reset();
  target.extensions.bitmaps.reset();
  allocator_->reserve_deferred(freed.size());
  co_await replace_header(std::move(target));
  bitmaps_->clear();
  for (const ClusterRange& range : freed) allocator_->defer_free(range);
  co_await flusher_->settle();
}

}  // namespace byre::qcow2
