// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_clusters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "block/buffer.h"
#include "block/read_zero_padded.h"

namespace byre::qcow2 {

using layout::BitmapTableEntry;
using layout::BitmapTableKind;

namespace {

// Bytes of a bitmap table in memory.
constexpr uint64_t kReadMax = 64 * 1024;

void append(std::vector<ClusterRange>& ranges, ClusterRange range) {
  if (range.count == 0) return;
  if (!ranges.empty() && ranges.back().end() == range.first) {
    ranges.back().count += range.count;
  } else {
    ranges.push_back(range);
  }
}

Task<void> append_bits(Context* context, const layout::BitmapEntry* bitmap,
                       std::vector<ClusterRange>* ranges) {
  const layout::Geometry& geometry = context->geometry;
  const uint64_t size = uint64_t{bitmap->table_size} * 8;
  Buffer buffer(std::min(size, kReadMax));
  for (uint64_t at = 0; at < size; at += buffer.size()) {
    const Bytes part = buffer.bytes(0, std::min<uint64_t>(size - at, buffer.size()));
    const ReadBuffers to(part);
    co_await read_zero_padded(&context->file(), (bitmap->table_offset + at).value(), to);
    for (uint64_t i = 0; i < part.size(); i += 8) {
      const BitmapTableEntry entry(load_big_endian<uint64_t>(part.data() + i));
      const BitmapTableKind kind = entry.kind(geometry);
      if (kind == BitmapTableKind::kInvalid) {
        const uint64_t place = bitmap->table_offset.value() + at + i;
        throw Error(ErrorKind::kCorrupt, EINVAL,
                    ErrorData{.code = "qcow2-bitmap-table-entry-invalid",
                              .offset = place,
                              .name = bitmap->text()},
                    fmt::format("the bitmap table entry at {:#x} of bitmap '{}' is invalid", place,
                                bitmap->text()));
      }
      if (kind == BitmapTableKind::kCluster)
        append(*ranges, {geometry.cluster_of(entry.offset()), 1});
    }
  }
}

}  // namespace

Task<std::vector<ClusterRange>> clusters_of_bitmaps(Context* context,
                                                    std::vector<layout::BitmapEntry> bitmaps) {
  std::vector<ClusterRange> ranges;
  const layout::Geometry& geometry = context->geometry;
  const layout::Extensions& extensions = context->extensions();
  if (!extensions.bitmaps) co_return ranges;
  append(ranges, {geometry.cluster_of(extensions.bitmaps->directory_offset),
                  geometry.clusters_for(extensions.bitmaps->directory_size)});
  for (const layout::BitmapEntry& bitmap : bitmaps) {
    append(ranges, {geometry.cluster_of(bitmap.table_offset),
                    geometry.clusters_for_entries(bitmap.table_size)});
    co_await append_bits(context, &bitmap, &ranges);
  }
  co_return ranges;
}

}  // namespace byre::qcow2
