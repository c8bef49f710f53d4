// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header_cluster.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {

// An empty image with bitmaps of these names and flags, all zeroes. Clusters have 64 KiB, refcounts
// 16 bits and one block.
inline Disks disks_with_bitmaps(const Layout& layout,
                                const std::vector<std::pair<std::string, uint32_t>>& bitmaps) {
  constexpr uint64_t kCluster = 65536;
  Disks disks = make_disks(layout);
  storage::MemoryDevice& file = *disks.file;
  layout::HeaderCluster first = layout::HeaderCluster::parse(file.get(0, kCluster), {});
  const uint64_t block =
      load_big_endian<uint64_t>(file.get(first.header.refcount_table_offset.value(), 8).data());
  uint64_t end = align_up(file.size(), kCluster);
  const auto take = [&] {
    file.put(end, std::vector<uint8_t>(kCluster));
    file.put(block + end / kCluster * 2, std::vector<uint8_t>{0, 1});
    end += kCluster;
    return layout::HostOffset(end - kCluster);
  };
  std::vector<layout::BitmapEntry> entries;
  for (const auto& [name, flags] : bitmaps) {
    layout::BitmapEntry entry;
    entry.table_offset = take();
    entry.table_size = 1;
    entry.flags = flags;
    entry.name = name;
    entries.push_back(std::move(entry));
  }
  const std::vector<uint8_t> directory = layout::encode_bitmap_directory(entries);
  layout::BitmapsExtension extension;
  extension.bitmap_count = static_cast<uint32_t>(entries.size());
  extension.directory_size = directory.size();
  extension.directory_offset = take();
  file.put(extension.directory_offset.value(), directory);
  first.extensions.bitmaps = extension;
  first.header.autoclear_features |= layout::autoclear::kBitmaps;
  file.put(0, first.encode());
  return disks;
}

}  // namespace byre::qcow2::test
