// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_marks.h"

#include <cstddef>
#include <exception>
#include <vector>

#include "base/bytes.h"
#include "qcow2/layout/bitmap.h"

namespace byre::qcow2 {

using layout::BitmapEntry;
using layout::HostOffset;
using layout::RawBitmapEntry;

Task<void> mark_bitmaps_in_use(Context* context, const OverlapCheck& overlap,
                               std::vector<BitmapEntry>* bitmaps) {
  if (!context->extensions().bitmaps) co_return;
  HostOffset entry = context->extensions().bitmaps->directory_offset;
  bool follows_writes = false;
  for (BitmapEntry& bitmap : *bitmaps) {
    const HostOffset place = entry + offsetof(RawBitmapEntry, flags);
    entry += bitmap.encoded_size();
    follows_writes |= bitmap.is_auto();
    if (!bitmap.is_auto() || bitmap.in_use()) continue;
    // An aligned field, so it is within one sector. If this stops half-way, some bitmaps count as
    // not saved although they are up to date: nothing was written to the disk yet.
    uint8_t bytes[4];
    store_big_endian<uint32_t>(bytes, bitmap.flags | layout::bitmap_flag::kInUse);
    overlap.check(place, sizeof bytes, MetadataKind::kBitmapDirectory);
    const WriteBuffers from((Bytes(bytes)));
    co_await context->file().write(place.value(), from);
  }
  // Flush even if all marks were set already: the writer that set them may have been killed before
  // they were durable.
  if (!follows_writes) co_return;
  std::exception_ptr failure;
  try {
    co_await context->file().flush();
  } catch (const Error& error) {
    context->health.note_failure(error, Health::Operation::kFlush);
    failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
  for (BitmapEntry& bitmap : *bitmaps) {
    if (bitmap.is_auto()) bitmap.flags |= layout::bitmap_flag::kInUse;
  }
}

}  // namespace byre::qcow2
