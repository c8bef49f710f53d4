// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/bitmap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/assert.h"
#include "base/checked.h"
#include "base/units.h"
#include "qcow2/layout/text.h"

namespace byre::qcow2::layout {
namespace {

[[noreturn]] void corrupt(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kCorrupt, EINVAL, std::move(data), std::move(sentence));
}

// An entry as stored in the directory.
struct EntryView {
  RawBitmapEntry raw;
  ConstBytes extra_data;
  ConstBytes name;
  uint64_t size = 0;  // with padding
};

// The entry at the start of `rest`; nothing if it does not end there.
std::optional<EntryView> find_entry(ConstBytes rest) {
  EntryView view;
  if (rest.size() < sizeof view.raw) return std::nullopt;
  std::memcpy(static_cast<void*>(&view.raw), rest.data(), sizeof view.raw);
  const uint64_t unpadded =
      sizeof view.raw + uint64_t{view.raw.extra_data_size} + view.raw.name_size;
  view.size = align_up(unpadded, 8);
  if (view.size > rest.size()) return std::nullopt;
  view.extra_data = rest.subspan(sizeof view.raw, view.raw.extra_data_size);
  view.name = rest.subspan(sizeof view.raw + view.raw.extra_data_size, view.raw.name_size);
  return view;
}

EntryView view_entry(ConstBytes rest, size_t index) {
  const std::optional<EntryView> view = find_entry(rest);
  if (view) return *view;
  const bool is_cut = rest.size() < sizeof(RawBitmapEntry);
  corrupt({.code = "qcow2-bitmap-directory-broken", .index = index},
          fmt::format("bitmap directory entry {}: {}", index,
                      is_cut ? "the directory ends inside the entry"
                             : "extra data and name go beyond the directory"));
}

// The name of the field that breaks the rules; empty if there is none.
Literal bad_field(const EntryView& view, const Geometry& geometry, uint64_t disk_size) {
  const RawBitmapEntry& raw = view.raw;
  const uint64_t table_offset = raw.table_offset;
  if (raw.table_size == 0 || raw.table_size > limits::kBitmapTableEntriesMax)
    return "bitmap_table_size";
  if (table_offset == 0 || !geometry.is_cluster_aligned(HostOffset(table_offset))) {
    return "bitmap_table_offset";
  }
  if (raw.name_size == 0 || raw.name_size > limits::kBitmapNameSizeMax) return "name_size";
  if (raw.type != kDirtyTrackingBitmap) return "type";
  if (raw.granularity_bits < limits::kBitmapGranularityBitsMin ||
      raw.granularity_bits > limits::kBitmapGranularityBitsMax) {
    return "granularity_bits";
  }
  if ((raw.flags & ~bitmap_flag::kKnown) != 0) return "flags";
  const uint64_t data_size = uint64_t{raw.table_size} << geometry.cluster_bits();
  if (data_size > limits::kBitmapSizeMax) return "bitmap_table_size";
  // A bitmap that was not saved correctly may not match the size of the disk.
  const bool in_use = raw.flags & bitmap_flag::kInUse;
  if (!in_use && bitmap_data_size(disk_size, raw.granularity_bits) > data_size) {
    return "bitmap_table_size";
  }
  return {};
}

BitmapEntry decode(const EntryView& view) {
  BitmapEntry entry;
  entry.table_offset = HostOffset(view.raw.table_offset);
  entry.table_size = view.raw.table_size;
  entry.flags = view.raw.flags;
  entry.type = view.raw.type;
  entry.granularity_bits = view.raw.granularity_bits;
  entry.name.assign(view.name.begin(), view.name.end());
  entry.extra_data.assign(view.extra_data.begin(), view.extra_data.end());
  return entry;
}

// What QEMU checks when it loads the bitmaps that the directory lists.
void check_loadable(const BitmapEntry& entry, const Geometry& geometry, uint64_t disk_size) {
  if (!range_fits(entry.table_offset.value(), uint64_t{entry.table_size} * 8,
                  limits::kDeviceSizeMax)) {
    const uint64_t offset = entry.table_offset.value();
    throw Error(ErrorKind::kIo, EIO,
                ErrorData{.code = "qcow2-bitmap-table-past-end",
                          .field = "bitmap_table_offset",
                          .value = offset,
                          .bound = limits::kDeviceSizeMax,
                          .name = entry.text()},
                fmt::format("bitmap_table_offset of bitmap '{}' is 0x{:x}; no file has a table of "
                            "{} entries there",
                            entry.text(), offset, entry.table_size));
  }
  const uint64_t needed = bitmap_table_entries_for(disk_size, entry.granularity_bits, geometry);
  if (entry.table_size != needed) {
    corrupt({.code = "qcow2-bitmap-table-size-wrong",
             .field = "bitmap_table_size",
             .value = entry.table_size,
             .bound = needed,
             .name = entry.text()},
            fmt::format("bitmap_table_size of bitmap '{}' is {}; the disk needs {}", entry.text(),
                        entry.table_size, needed));
  }
}

}  // namespace

BitmapsExtension BitmapsExtension::parse(ConstBytes data, uint64_t cluster_size) {
  BYRE_ASSERT(data.size() == kSize);
  BitmapsExtension extension;
  extension.bitmap_count = load_big_endian<uint32_t>(data.data());
  const uint32_t reserved = load_big_endian<uint32_t>(data.data() + 4);
  extension.directory_size = load_big_endian<uint64_t>(data.data() + 8);
  extension.directory_offset = HostOffset(load_big_endian<uint64_t>(data.data() + 16));
  if (reserved != 0) {
    corrupt({.code = "qcow2-bitmaps-reserved-not-zero", .field = "reserved", .value = reserved},
            fmt::format("reserved of the bitmaps header extension is 0x{:x}, not 0", reserved));
  }
  if (extension.bitmap_count > limits::kBitmapsMax) {
    throw Error(ErrorKind::kUnsupported, EINVAL,
                ErrorData{.code = "qcow2-bitmaps-too-many",
                          .field = "nb_bitmaps",
                          .value = extension.bitmap_count,
                          .bound = limits::kBitmapsMax},
                fmt::format("nb_bitmaps of the bitmaps header extension is {}; at most {} are "
                            "supported",
                            extension.bitmap_count, limits::kBitmapsMax));
  }
  if (extension.bitmap_count == 0) {
    corrupt({.code = "qcow2-bitmaps-none", .field = "nb_bitmaps", .value = 0},
            "nb_bitmaps of the bitmaps header extension is 0");
  }
  const uint64_t offset = extension.directory_offset.value();
  if (!is_aligned(offset, cluster_size)) {
    corrupt({.code = "qcow2-bitmap-directory-offset-invalid",
             .field = "bitmap_directory_offset",
             .value = offset,
             .bound = cluster_size},
            fmt::format("bitmap_directory_offset is 0x{:x}, not a multiple of the cluster size {}",
                        offset, cluster_size));
  }
  if (extension.directory_size > limits::kBitmapDirectorySizeMax) {
    throw Error(ErrorKind::kUnsupported, EINVAL,
                ErrorData{.code = "qcow2-bitmap-directory-too-large",
                          .field = "bitmap_directory_size",
                          .value = extension.directory_size,
                          .bound = limits::kBitmapDirectorySizeMax},
                fmt::format("bitmap_directory_size is {}; at most {} bytes are supported",
                            extension.directory_size, limits::kBitmapDirectorySizeMax));
  }
  return extension;
}

void BitmapsExtension::check_directory() const {
  if (directory_size == 0) {
    corrupt({.code = "qcow2-bitmap-directory-empty", .field = "bitmap_directory_size", .value = 0},
            "bitmap_directory_size of the bitmaps header extension is 0");
  }
  if (!range_fits(directory_offset.value(), directory_size, limits::kDeviceSizeMax)) {
    throw Error(ErrorKind::kIo, EIO,
                ErrorData{.code = "qcow2-bitmap-directory-past-end",
                          .field = "bitmap_directory_offset",
                          .value = directory_offset.value(),
                          .bound = limits::kDeviceSizeMax},
                fmt::format("bitmap_directory_offset is 0x{:x}; no file has a directory of {} "
                            "bytes there",
                            directory_offset.value(), directory_size));
  }
}

std::vector<uint8_t> BitmapsExtension::encode() const {
  std::vector<uint8_t> data(kSize);
  store_big_endian(data.data(), bitmap_count);
  store_big_endian(data.data() + 8, directory_size);
  store_big_endian(data.data() + 16, directory_offset.value());
  return data;
}

uint64_t BitmapEntry::encoded_size() const {
  return align_up(sizeof(RawBitmapEntry) + extra_data.size() + name.size(), 8);
}

std::string BitmapEntry::text() const {
  const auto* bytes = reinterpret_cast<const uint8_t*>(name.data());
  return text_of({bytes, name.size()});
}

void BitmapEntry::encode_to(std::vector<uint8_t>& directory) const {
  BYRE_ASSERT(!name.empty() && name.size() <= limits::kBitmapNameSizeMax);
  RawBitmapEntry raw;
  raw.table_offset = table_offset.value();
  raw.table_size = table_size;
  raw.flags = flags;
  raw.type = type;
  raw.granularity_bits = granularity_bits;
  raw.name_size = static_cast<uint16_t>(name.size());
  raw.extra_data_size = static_cast<uint32_t>(extra_data.size());
  const size_t end = directory.size() + encoded_size();
  const auto* start = reinterpret_cast<const uint8_t*>(&raw);
  directory.insert(directory.end(), start, start + sizeof raw);
  directory.insert(directory.end(), extra_data.begin(), extra_data.end());
  directory.insert(directory.end(), name.begin(), name.end());
  directory.resize(end);
}

uint64_t bitmap_data_size(uint64_t disk_size, uint32_t granularity_bits) {
  BYRE_ASSERT(granularity_bits <= 63);
  return div_ceil<uint64_t>(div_ceil(disk_size, uint64_t{1} << granularity_bits), 8);
}

uint64_t bitmap_table_entries_for(uint64_t disk_size, uint32_t granularity_bits,
                                  const Geometry& geometry) {
  return geometry.clusters_for(bitmap_data_size(disk_size, granularity_bits));
}

std::vector<BitmapEntry> parse_bitmap_directory(ConstBytes bytes, const BitmapsExtension& extension,
                                                const Geometry& geometry, uint64_t disk_size) {
  extension.check_directory();
  disk_size = align_down(disk_size, kSectorSize);  // QEMU's disks have whole sectors
  BYRE_ASSERT(bytes.size() == extension.directory_size);
  std::vector<BitmapEntry> bitmaps;
  while (!bytes.empty()) {
    if (bytes.size() >= sizeof(RawBitmapEntry) && bitmaps.size() == extension.bitmap_count) {
      corrupt({.code = "qcow2-bitmaps-more-than-stated",
               .field = "nb_bitmaps",
               .value = extension.bitmap_count},
              fmt::format("nb_bitmaps is {}, but the bitmap directory has more entries",
                          extension.bitmap_count));
    }
    const EntryView view = view_entry(bytes, bitmaps.size());
    BitmapEntry entry = decode(view);
    const Literal field = bad_field(view, geometry, disk_size);
    if (!field.empty()) {
      corrupt({.code = "qcow2-bitmap-invalid",
               .field = field,
               .index = bitmaps.size(),
               .name = entry.text()},
              fmt::format("{} of bitmap directory entry {}, '{}', is invalid", field.view(),
                          bitmaps.size(), entry.text()));
    }
    bitmaps.push_back(std::move(entry));
    bytes = bytes.subspan(view.size);
  }
  if (bitmaps.size() < extension.bitmap_count) {
    corrupt({.code = "qcow2-bitmaps-fewer-than-stated",
             .field = "nb_bitmaps",
             .value = extension.bitmap_count,
             .bound = bitmaps.size()},
            fmt::format("nb_bitmaps is {}, but the bitmap directory has {} entries",
                        extension.bitmap_count, bitmaps.size()));
  }
  std::set<std::string> names;
  for (const BitmapEntry& entry : bitmaps) {
    if (entry.in_use()) continue;
    check_loadable(entry, geometry, disk_size);
    if (!names.insert(entry.text()).second) {
      corrupt({.code = "qcow2-bitmap-name-repeated", .name = entry.text()},
              fmt::format("two bitmap directory entries have the name '{}'", entry.text()));
    }
  }
  return bitmaps;
}

namespace {

bool is_entry(ConstBytes rest, const Geometry& geometry, uint64_t disk_size) {
  const std::optional<EntryView> view = find_entry(rest);
  return view && bad_field(*view, geometry, disk_size).empty();
}

bool is_text(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) >= ' '; });
}

// Of an entry that breaks the rules: its name and size, if another entry or the end of the
// directory follows it. Otherwise only the number of bytes up to the next valid entry, or to the
// end.
struct BrokenEntry {
  std::string name;
  uint64_t size = 0;
};
BrokenEntry skip_entry(ConstBytes rest, const Geometry& geometry, uint64_t disk_size) {
  BrokenEntry skipped;
  const std::optional<EntryView> view = find_entry(rest);
  if (view) {
    const ConstBytes next = rest.subspan(view->size);
    if (next.empty() || is_entry(next, geometry, disk_size)) skipped.size = view->size;
    const bool has_name = view->name.size() <= limits::kBitmapNameSizeMax;
    if (has_name && skipped.size != 0)
      skipped.name = std::string(view->name.begin(), view->name.end());
    if (!is_text(skipped.name)) skipped.name.clear();
  }
  for (uint64_t at = 8; skipped.size == 0; at += 8) {
    if (at >= rest.size()) {
      skipped.size = rest.size();
    } else if (is_entry(rest.subspan(at), geometry, disk_size)) {
      skipped.size = at;
    }
  }
  return skipped;
}

}  // namespace

ReadableBitmaps read_bitmap_directory(ConstBytes bytes, const BitmapsExtension& extension,
                                      const Geometry& geometry, uint64_t disk_size) {
  disk_size = align_down(disk_size, kSectorSize);
  ReadableBitmaps all;
  std::vector<size_t> indexes;           // of the entries in all.bitmaps
  std::map<std::string, size_t> counts;  // of names of bitmaps that are not in use, as compared
  size_t index = 0;
  for (; !bytes.empty(); ++index) {
    std::string name;
    std::optional<Error> reason;
    uint64_t size = 0;
    try {
      const EntryView view = view_entry(bytes, index);
      const Literal field = bad_field(view, geometry, disk_size);
      if (!field.empty()) corrupt({}, fmt::format("{} is invalid", field.view()));
      BitmapEntry entry = decode(view);
      name = entry.text();
      size = view.size;
      if (!entry.in_use()) check_loadable(entry, geometry, disk_size);
      if (!entry.in_use()) ++counts[name];
      all.bitmaps.push_back(std::move(entry));
      indexes.push_back(index);
    } catch (const Error& error) {
      reason = error;
    }
    if (reason) {
      const BrokenEntry skipped = skip_entry(bytes, geometry, disk_size);
      if (size == 0) {
        size = skipped.size;
        name = skipped.name;
      }
      all.broken.push_back({index, std::move(name), *reason});
    }
    bytes = bytes.subspan(size);
  }
  all.is_count_wrong = index != extension.bitmap_count;
  // There is no way to know which of several is the right one.
  size_t at = 0;
  std::erase_if(all.bitmaps, [&](const BitmapEntry& entry) {
    const size_t place = indexes[at++];
    if (entry.in_use() || counts[entry.text()] < 2) return false;
    const Error reason(ErrorKind::kCorrupt, EINVAL, "another bitmap has its name");
    all.broken.push_back({place, entry.text(), reason});
    return true;
  });
  return all;
}

std::vector<uint8_t> encode_bitmap_directory(const std::vector<BitmapEntry>& bitmaps) {
  std::vector<uint8_t> directory;
  for (const BitmapEntry& entry : bitmaps) entry.encode_to(directory);
  return directory;
}

BitmapTableKind BitmapTableEntry::kind(const Geometry& geometry) const {
  if (reserved_bits() != 0 || !geometry.is_cluster_aligned(offset())) {
    return BitmapTableKind::kInvalid;
  }
  if (!offset().is_zero()) return BitmapTableKind::kCluster;
  return word_ & kOnes ? BitmapTableKind::kOnes : BitmapTableKind::kZeroes;
}

}  // namespace byre::qcow2::layout
