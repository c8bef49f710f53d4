// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/buffer.h"
#include "qcow2/repair/repair.h"
#include "support/guest_view.h"
#include "unit/qcow2/checked_image.h"

// Kinds of damage, what a guest can still read of an image, and repairs.
namespace byre::qcow2::test {

struct Damage {
  std::string name;
  std::function<void(CheckedImage&)> apply;
  bool can_be_repaired = true;    // a check finds nothing after a repair of everything
  bool drops_unreadable = false;  // by a repair that gives up what cannot be read
};

inline void set_incompatible(CheckedImage& image, uint64_t bits) {
  image.put<uint64_t>(72, image.header().incompatible_features | bits);
}

// A snapshot with its L1 table at this offset, valid otherwise.
inline layout::Snapshot snapshot_at(const CheckedImage& image, uint64_t l1_offset) {
  layout::Snapshot snapshot;
  snapshot.l1_table_offset = layout::HostOffset(l1_offset);
  snapshot.l1_size = image.header().l1_size;
  snapshot.id = "1";
  snapshot.name = "s";
  snapshot.disk_size = image.header().size;
  return snapshot;
}

// Sound bitmaps with these names, each with a table and one cluster of bits.
inline std::vector<layout::BitmapEntry> put_bitmaps(CheckedImage& image,
                                                    const std::vector<std::string>& names) {
  std::vector<layout::BitmapEntry> bitmaps;
  for (const std::string& name : names) {
    std::vector<uint8_t> table(8);
    store_big_endian<uint64_t>(table.data(), image.append({0xff}));
    layout::BitmapEntry entry;
    entry.table_offset = layout::HostOffset(image.append(table));
    entry.table_size = 1;
    entry.name = name;
    bitmaps.push_back(std::move(entry));
  }
  const std::vector<uint8_t> directory = layout::encode_bitmap_directory(bitmaps);
  layout::HeaderCluster first = image.first_cluster();
  first.header.autoclear_features |= layout::autoclear::kBitmaps;
  layout::BitmapsExtension extension;
  extension.bitmap_count = static_cast<uint32_t>(names.size());
  extension.directory_size = directory.size();
  extension.directory_offset = layout::HostOffset(image.append(directory));
  first.extensions.bitmaps = extension;
  image.file().put(0, first.encode());
  return bitmaps;
}

inline uint64_t bitmap_directory(const CheckedImage& image) {
  return image.first_cluster().extensions.bitmaps->directory_offset.value();
}

// Each damages a CheckedImage with standard clusters.
inline std::vector<Damage> damages() {
  constexpr uint64_t kCopied = layout::L2Entry::kCopied;
  std::vector<Damage> all;
  const auto add = [&all](std::string name, std::function<void(CheckedImage&)> apply) -> Damage& {
    all.push_back({std::move(name), std::move(apply)});
    return all.back();
  };
  add("Leak", [](CheckedImage& image) { image.append({1}); });
  add("RefcountTooHigh", [](CheckedImage& image) { image.set_refcount(image.data_offset(0), 3); });
  add("RefcountOfDataZero",
      [](CheckedImage& image) { image.set_refcount(image.data_offset(0), 0); });
  add("RefcountOfHeaderZero", [](CheckedImage& image) { image.set_refcount(0, 0); });
  add("RefcountsZero", [](CheckedImage& image) {
    image.file().put(image.block(), std::vector<uint8_t>(image.cluster_size()));
  });
  add("NoRefcountBlock", [](CheckedImage& image) { image.put_word(image.table_place(0), 0); });
  add("RefcountBlockUnaligned",
      [](CheckedImage& image) { image.put_word(image.table_place(0), image.block() + 512); });
  add("RefcountBlockReservedBits",
      [](CheckedImage& image) { image.put_word(image.table_place(0), image.block() | 4); });
  add("RefcountBlockOutside",
      [](CheckedImage& image) { image.put_word(image.table_place(1), uint64_t{1} << 55); });
  add("RefcountBlockTwice",
      [](CheckedImage& image) { image.put_word(image.table_place(1), image.block()); });
  add("RefcountBlockOnL1",
      [](CheckedImage& image) { image.put_word(image.table_place(1), image.l1_place(0)); });
  add("RefcountTableGone", [](CheckedImage& image) { image.put<uint32_t>(56, 0); });
  add("RefcountTableOnL1", [](CheckedImage& image) { image.put<uint64_t>(48, image.l1_place(0)); });
  add("SharedCluster", [](CheckedImage& image) {
    image.put_word(image.l2_place(6), image.word(image.l2_place(0)));
  });
  add("CopiedMissing", [](CheckedImage& image) {
    image.put_word(image.l2_place(0), image.data_offset(0));
    image.put_word(image.l1_place(0), image.l2_table());
  });
  add("CompressedCopied", [](CheckedImage& image) {
    image.put_word(image.l2_place(4), image.word(image.l2_place(4)) | kCopied);
  });
  add("ClusterOutside", [](CheckedImage& image) {
    const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
    image.put_word(image.l2_place(7), (end + 4096) | kCopied);
  }).can_be_repaired = false;
  add("ClusterOutsideAndRefcountsWrong", [](CheckedImage& image) {
    const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
    image.set_refcount(image.data_offset(0), 3);
    image.set_refcount(image.data_offset(1), 0);
    image.put_word(image.l2_place(7), (end + 4096) | kCopied);
  }).can_be_repaired = false;
  add("ClusterRightBehindTheEnd", [](CheckedImage& image) {
    const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
    image.file().put(end - 1, std::vector<uint8_t>{0});
    image.put_word(image.l2_place(7), end | kCopied);
  }).can_be_repaired = false;
  add("TableOutside", [](CheckedImage& image) {
    image.put_word(image.l1_place(0), (uint64_t{1} << 50) | kCopied);
  }).can_be_repaired = false;
  // The same, repaired by giving up what cannot be read.
  for (const char* const name : {"ClusterOutside", "ClusterOutsideAndRefcountsWrong",
                                 "ClusterRightBehindTheEnd", "TableOutside"}) {
    Damage given_up = *std::ranges::find(all, name, &Damage::name);
    given_up.name += "GivenUp";
    given_up.can_be_repaired = true;
    given_up.drops_unreadable = true;
    all.push_back(given_up);
  }
  add("ZeroClusterOutside", [](CheckedImage& image) {
    const uint64_t end = image.geometry().clusters_for(image.file().size()) * 4096;
    image.put_word(image.l2_place(7), (end + 4096) | kCopied | layout::L2Entry::kZero);
  });
  add("DataOnL1Table",
      [](CheckedImage& image) { image.put_word(image.l2_place(8), image.l1_place(0) | kCopied); });
  add("DataOnRefcountTable", [](CheckedImage& image) {
    image.put_word(image.l2_place(8), image.table_place(0) | kCopied);
  });
  add("DataOnRefcountBlock",
      [](CheckedImage& image) { image.put_word(image.l2_place(8), image.block() | kCopied); });
  add("DataOnItsL2Table",
      [](CheckedImage& image) { image.put_word(image.l2_place(8), image.l2_table() | kCopied); });
  // Read as a table, the header has entries past the end of the file.
  add("L1TableOnTheHeader", [](CheckedImage& image) {
    image.put<uint64_t>(40, 0);
  }).can_be_repaired = false;
  add("L1TableLongerThanItsPlace", [](CheckedImage& image) {
    // Onto guest data, and not onto its own L2 table.
    const uint64_t old = image.l2_table();
    const uint64_t table = image.append(image.file().get(old, 4096));
    image.put_word(image.l1_place(0), table | kCopied);
    image.file().put(old, std::vector<uint8_t>(4096));
    image.set_refcount(old, 0);
    image.put<uint32_t>(36, 1 + 4096 / 8 * 3);
  }).can_be_repaired = false;
  add("L2TableOnGuestData", [](CheckedImage& image) {
    image.put<uint32_t>(36, 2);
    image.put_word(image.l1_place(1), image.data_offset(0) | kCopied);
  }).can_be_repaired = false;
  add("SnapshotSharesL1",
      [](CheckedImage& image) { image.put_snapshots({snapshot_at(image, image.l1_place(0))}); });
  add("SnapshotIncomplete", [](CheckedImage& image) {
    const uint64_t l1 = image.append(std::vector<uint8_t>(8));
    layout::Snapshot snapshot = snapshot_at(image, l1);
    snapshot.disk_size = std::nullopt;
    image.put_snapshots({snapshot});
  });
  add("SnapshotExtraDataTooLong", [](CheckedImage& image) {
    const uint64_t l1 = image.append(std::vector<uint8_t>(8));
    image.put_snapshots({snapshot_at(image, l1), snapshot_at(image, l1)});
    image.set_refcount(l1, 2);
    image.put<uint32_t>(image.header().snapshots_offset.value() + 36, 0x7fffffff);
  });
  add("SnapshotEntryZeroGivenUp", [](CheckedImage& image) {
    image.put_snapshots({layout::Snapshot{}});
    image.append({1});
  }).drops_unreadable = true;
  add("SnapshotTableUnalignedGivenUp", [](CheckedImage& image) {
    image.put<uint32_t>(60, 1);
    image.put<uint64_t>(64, 513);
  }).drops_unreadable = true;
  add("BitmapTableOutside", [](CheckedImage& image) {
    std::vector<layout::BitmapEntry> bitmaps = put_bitmaps(image, {"a"});
    bitmaps[0].table_offset = layout::HostOffset(uint64_t{1} << 40);
    image.file().put(bitmap_directory(image), layout::encode_bitmap_directory(bitmaps));
  });
  add("FirstBitmapUnaligned", [](CheckedImage& image) {
    std::vector<layout::BitmapEntry> bitmaps = put_bitmaps(image, {"a", "bb", "ccc"});
    bitmaps[0].table_offset += 512;
    image.file().put(bitmap_directory(image), layout::encode_bitmap_directory(bitmaps));
  });
  add("BitmapTableOnL1", [](CheckedImage& image) {
    std::vector<layout::BitmapEntry> bitmaps = put_bitmaps(image, {"a", "bb", "ccc"});
    bitmaps[1].table_offset = image.header().l1_table_offset;
    image.file().put(bitmap_directory(image), layout::encode_bitmap_directory(bitmaps));
  });
  add("BitmapEntryZero", [](CheckedImage& image) {
    put_bitmaps(image, {"a", "bb", "ccc"});
    image.file().put(bitmap_directory(image) + 32, std::vector<uint8_t>(32));
  });
  add("BitmapDirectoryFarAway", [](CheckedImage& image) {
    put_bitmaps(image, {"a", "bb"});
    layout::HeaderCluster first = image.first_cluster();
    first.extensions.bitmaps->directory_offset = layout::HostOffset(uint64_t{1} << 50);
    image.file().put(0, first.encode());
  });
  add("Dirty", [](CheckedImage& image) {
    image.set_refcount(image.data_offset(0), 7);
    image.set_refcount(image.data_offset(1), 0);
    set_incompatible(image, layout::incompatible::kDirty);
  });
  add("Corrupt",
      [](CheckedImage& image) { set_incompatible(image, layout::incompatible::kCorrupt); });
  add("ClusterUnaligned", [](CheckedImage& image) {
    image.put_word(image.l2_place(1), image.word(image.l2_place(1)) + 512);
  }).can_be_repaired = false;
  add("TableUnaligned", [](CheckedImage& image) {
    image.put_word(image.l1_place(0), image.word(image.l1_place(0)) + 512);
  }).can_be_repaired = false;
  add("SnapshotUnaligned", [](CheckedImage& image) {
    image.put_snapshots({snapshot_at(image, image.l1_place(0) + 8)});
  }).can_be_repaired = false;
  return all;
}

// By cluster.
inline Task<GuestView> view_guest(std::unique_ptr<BlockDevice> file,
                                  std::unique_ptr<BlockDevice> data = nullptr) {
  const std::unique_ptr<Image> image = co_await open_for_check(std::move(file));
  if (data) image->set_data_file(std::move(data));
  co_return co_await view_guest(image.get(), image->geometry().cluster_size());
}

inline GuestView view(const CheckedImage& image) {
  return sync_wait(view_guest(const_cast<CheckedImage&>(image).file().clone()));
}

// Nothing that could be read is lost or different.
inline void expect_nothing_lost(const GuestView& before, const GuestView& after) {
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i]) EXPECT_TRUE(before[i] == after[i]) << "guest cluster " << i;
  }
}

struct Repaired {
  RepairResult result;
  std::vector<Finding> findings;
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Finding& finding : findings) all.push_back(problem_of(finding).message());
    return all;
  }
};

// The repair that this damage needs.
Repaired repair(BlockDevice& file, const Damage& damage);

inline Task<RepairResult> repair_on(BlockDevice* file, RepairOptions options) {
  Buffer probe(layout::Header::kProbeSize);
  co_await file->read(0, probe.bytes());
  Buffer first(layout::Header::probe_cluster_size(probe.bytes()));
  co_await file->read(0, first.bytes(0, std::min(first.size(), file->size())));
  const auto parsed = layout::HeaderCluster::parse(first.bytes(), {.for_check = true});
  CheckSubject subject{file, parsed.header, parsed.extensions};
  co_return co_await repair(std::move(subject), std::move(options));
}

inline Repaired repair(BlockDevice& file, RepairScope scope = RepairScope::kAll,
                       bool drops_unreadable = false) {
  Repaired repaired;
  RepairOptions options;
  options.scope = scope;
  options.drops_unreadable = drops_unreadable;
  options.check.on_finding = [&repaired](const Finding& each) {
    repaired.findings.push_back(each);
  };
  repaired.result = sync_wait(repair_on(&file, std::move(options)));
  return repaired;
}

inline Repaired repair(BlockDevice& file, const Damage& damage) {
  return repair(file, RepairScope::kAll, damage.drops_unreadable);
}

}  // namespace byre::qcow2::test
