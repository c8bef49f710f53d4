// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/image_parts.h"

#include <utility>

namespace byre::qcow2 {

namespace {

TableCache::Options l2_cache_options(const CacheSizes& sizes, const layout::Geometry* geometry) {
  return {.name = "L2 table",
          .slice_size = sizes.l2_slice_size,
          .slices_max = sizes.l2_slices_max,
          .l2_geometry = geometry};
}

TableCache::Options refcount_cache_options(const CacheSizes& sizes) {
  return {.name = "refcount block",
          .slice_size = sizes.refcount_slice_size,
          .slices_max = sizes.refcount_slices_max,
          .load_event = DebugEvent::kRefblockLoad,
          .update_event = DebugEvent::kRefblockUpdatePart};
}

}  // namespace

ImageParts::ImageParts(LoadedImage loaded)
    : context(std::move(loaded.file), std::move(loaded.options), std::move(loaded.first_cluster),
              loaded.is_repaired),
      snapshots(std::move(loaded.snapshots)),
      bitmaps(std::move(loaded.bitmaps)),
      has_unreadable_bitmaps(loaded.has_unreadable_bitmaps),
      tables{std::move(loaded.l1),
             {&context.storage, l2_cache_options(loaded.cache_sizes, &context.geometry)},
             {&context.storage, refcount_cache_options(loaded.cache_sizes)}},
      cache_cleaner(loaded.cache_sizes.clean_interval, &tables),
      mapping(&context, &tables.l1, &tables.l2_cache),
      reader(&context, &mapping) {}

void ImageParts::check() const {
  context.guest_lock.check();
  tables.l2_cache.check();
  tables.refcount_cache.check();
  if (!writing) return;
  writing->allocator.check();
  writing->discards.check();
}

WriteParts& ImageParts::write_parts() {
  if (!writing) writing = std::make_unique<WriteParts>(this);
  return *writing;
}

}  // namespace byre::qcow2
