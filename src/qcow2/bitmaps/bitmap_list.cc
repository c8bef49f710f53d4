// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/buffer.h"
#include "block/read_zero_padded.h"
#include "byre/error.h"

namespace byre::qcow2 {
namespace {

constexpr uint64_t kReadMax = kMiB;

// A byte range of the file that holds bitmap tables.
struct TableRange {
  uint64_t start = 0;
  uint64_t end = 0;
};

TableRange range_of(const layout::BitmapEntry& bitmap) {
  const uint64_t start = bitmap.table_offset.value();
  return {start, start + uint64_t{bitmap.table_size} * 8};
}

// The tables of all bitmaps that are not in use: sorted, adjacent ones merged.
std::vector<TableRange> table_ranges(const std::vector<layout::BitmapEntry>& bitmaps) {
  std::vector<TableRange> ranges;
  for (const layout::BitmapEntry& bitmap : bitmaps) {
    if (!bitmap.in_use()) ranges.push_back(range_of(bitmap));
  }
  std::ranges::sort(ranges, {}, &TableRange::start);
  std::vector<TableRange> merged;
  for (const TableRange& range : ranges) {
    if (!merged.empty() && range.start <= merged.back().end) {
      merged.back().end = std::max(merged.back().end, range.end);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

// Appends the offsets of invalid entries to `bad`, in ascending order.
Task<void> find_bad_entries(BlockDevice* file, layout::Geometry geometry, TableRange range,
                            std::vector<uint64_t>* bad) {
  const uint64_t end = std::min(range.end, align_up(file->size(), 8));
  Buffer buffer(kReadMax);
  for (uint64_t place = range.start; place < end;) {
    const uint64_t in_file = file->size() > place ? file->size() - place : 0;
    const uint64_t asked = std::min(end - place, in_file);
    if (asked == 0) break;
    const std::vector<Extent> extents = co_await file->extents(place, asked, ExtentScope::kLayer);
    // A hole may end in the middle of an entry; skip only whole ones.
    const uint64_t hole = extents.front().zero ? align_down(extents.front().length, 8) : 0;
    if (hole > 0) {
      place += hole;
      continue;
    }
    const uint64_t length = std::min(kReadMax, end - place);
    const ReadBuffers to(buffer.bytes(0, length));
    co_await read_zero_padded(file, place, to);
    for (uint64_t i = 0; i + 8 <= length; i += 8) {
      const layout::BitmapTableEntry entry(load_big_endian<uint64_t>(buffer.data() + i));
      if (entry.kind(geometry) == layout::BitmapTableKind::kInvalid) bad->push_back(place + i);
    }
    place += length;
  }
}

}  // namespace

Task<std::vector<layout::BitmapEntry>> read_bitmap_list(BlockDevice* file,
                                                        layout::Extensions extensions,
                                                        layout::Geometry geometry,
                                                        uint64_t disk_size) {
  std::vector<layout::BitmapEntry> bitmaps;
  if (!extensions.bitmaps) co_return bitmaps;
  const layout::BitmapsExtension& extension = *extensions.bitmaps;
  extension.check_directory();
  // At most 64 MiB, by the extension's limits.
  Buffer directory(extension.directory_size);
  const ReadBuffers to(directory.bytes());
  co_await read_zero_padded(file, extension.directory_offset.value(), to);
  bitmaps = layout::parse_bitmap_directory(directory.bytes(), extension, geometry, disk_size);

  std::vector<uint64_t> bad;
  for (const TableRange& range : table_ranges(bitmaps)) {
    co_await find_bad_entries(file, geometry, range, &bad);
  }
  for (const layout::BitmapEntry& bitmap : bitmaps) {
    if (bitmap.in_use()) continue;
    const TableRange range = range_of(bitmap);
    const auto first = std::ranges::lower_bound(bad, range.start);
    if (first == bad.end() || *first >= range.end) continue;
    throw Error(
        ErrorKind::kCorrupt, EINVAL,
        ErrorData{
            .code = "qcow2-bitmap-table-entry-invalid", .offset = *first, .name = bitmap.text()},
        fmt::format("the bitmap table entry at {:#x} of bitmap '{}' is invalid", *first,
                    bitmap.text()));
  }
  co_return bitmaps;
}

}  // namespace byre::qcow2
