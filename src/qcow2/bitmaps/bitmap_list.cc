// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <map>
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

// The ranges that were found to have no invalid entries, so that each is read once, however many
// bitmaps have it.
class SoundRanges {
 public:
  // The first part of the range that is not known to be sound; an empty one if all of it is.
  TableRange first_gap(TableRange range) const {
    uint64_t start = range.start;
    const auto next = ends_.upper_bound(start);
    if (next != ends_.begin()) start = std::max(start, std::prev(next)->second);
    const uint64_t end = next == ends_.end() ? range.end : std::min(range.end, next->first);
    return {start, std::max(start, end)};
  }
  // REQUIRES: it is a gap.
  void add(TableRange gap) {
    const auto next = ends_.find(gap.end);
    if (next != ends_.end()) {
      gap.end = next->second;
      ends_.erase(next);
    }
    const auto after = ends_.lower_bound(gap.start);
    if (after != ends_.begin() && std::prev(after)->second == gap.start) {
      std::prev(after)->second = gap.end;
    } else {
      ends_.emplace(gap.start, gap.end);
    }
  }

 private:
  std::map<uint64_t, uint64_t> ends_;  // by start; they do not touch
};

// The offset of the first invalid entry.
Task<std::optional<uint64_t>> find_bad_entry(BlockDevice* file, layout::Geometry geometry,
                                             TableRange range) {
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
      if (entry.kind(geometry) == layout::BitmapTableKind::kInvalid) co_return place + i;
    }
    place += length;
  }
  co_return std::nullopt;
}

Task<void> check_tables(BlockDevice* file, layout::Geometry geometry,
                        const std::vector<layout::BitmapEntry>& bitmaps) {
  SoundRanges sound;
  for (const layout::BitmapEntry& bitmap : bitmaps) {
    if (bitmap.in_use()) continue;
    const TableRange range = range_of(bitmap);
    for (TableRange gap = sound.first_gap(range); gap.start < gap.end;
         gap = sound.first_gap(range)) {
      const std::optional<uint64_t> bad = co_await find_bad_entry(file, geometry, gap);
      if (bad) {
        throw Error(
            ErrorKind::kCorrupt, EINVAL,
            ErrorData{
                .code = "qcow2-bitmap-table-entry-invalid", .offset = *bad, .name = bitmap.text()},
            fmt::format("the bitmap table entry at {:#x} of bitmap '{}' is invalid", *bad,
                        bitmap.text()));
      }
      sound.add(gap);
    }
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
  co_await check_tables(file, geometry, bitmaps);
  co_return bitmaps;
}

}  // namespace byre::qcow2
