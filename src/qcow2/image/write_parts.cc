// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/write_parts.h"

#include "base/checked.h"
#include "base/units.h"
#include "qcow2/image/image_parts.h"

namespace byre::qcow2 {

WriteParts::WriteParts(ImageParts* image)
    : context(&image->context),
      overlap(context, MetadataKinds::of(context->options.overlap_check), &image->tables.l1,
              &image->snapshots),
      refcounts(context, &image->tables.refcount_cache, &overlap),
      allocator(context, &image->tables.refcount_cache, &refcounts, &overlap),
      discards(context),
      linker(context, &image->tables, &image->mapping, &image->reader, &allocator, &discards,
             &overlap),
      writer(context, &image->mapping, &image->reader, &allocator, &linker, &discards, &overlap),
      zeroing(context, &image->mapping, &allocator, &linker, &writer),
      flusher(context, &image->tables, &allocator, &discards, &linker, &overlap),
      preparation(context, &refcounts, &overlap, &flusher, &image->bitmaps,
                  image->has_unreadable_bitmaps),
      compressed(context, &preparation, &allocator, &linker, &writer, &overlap),
      growth(context, &image->tables, &image->snapshots, &image->bitmaps, &allocator, &linker,
             &flusher, &zeroing),
      shrink(context, &image->tables, &image->mapping, &image->reader, &allocator, &linker,
             &flusher, &zeroing, &overlap),
      snapshots(context, &image->tables, &image->snapshots, &image->bitmaps, &image->reader,
                &refcounts, &allocator, &flusher, &overlap),
      sharing(context, &image->tables, &image->snapshots, &image->mapping, &allocator, &linker),
      emptying(context, &image->tables, &image->reader, &refcounts, &allocator, &flusher, &overlap),
      refcount_width(context, &image->tables, &refcounts, &allocator, &flusher, &overlap),
      version_change(context, &image->tables, &image->snapshots, &image->bitmaps, &refcounts,
                     &allocator, &flusher, &overlap) {
  const auto watch = [this](TableCache* cache, MetadataKind kind) {
    cache->set_on_failure([this](const Error& error, Health::Operation operation) {
      context->health.note_failure(error, operation);
    });
    // What a table depends on may have been lost by a flush that failed since, even if a later one
    // succeeded.
    cache->set_before_write([this, kind](uint64_t offset, uint64_t length) {
      context->health.check_not_failed();
      overlap.check(layout::HostOffset(offset), length, kind);
    });
  };
  watch(&image->tables.l2_cache, MetadataKind::kActiveL2);
  watch(&image->tables.refcount_cache, MetadataKind::kRefcountBlock);
}

Task<void> WriteParts::finish() {
  if (!context->health.is_prepared()) co_return;
  co_await flusher.flush_all();
  // The second flush writes the refcounts of clusters that the first one released; and the file
  // then ends with a whole sector, which readers of compressed clusters prefer.
  BlockDevice& file = context->file();
  if (file.size() % kSectorSize != 0 && file.limits().grows) {
    co_await file.resize(align_up(file.size(), kSectorSize), Preallocation::kOff);
  }
  co_await flusher.flush_all();
  const HeaderStore::FeatureChange clean{.incompatible_cleared = layout::incompatible::kDirty};
  co_await context->header_store.change_features(clean);
}

}  // namespace byre::qcow2
