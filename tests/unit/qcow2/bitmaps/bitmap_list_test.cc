// SPDX-License-Identifier: Apache-2.0
#include "qcow2/bitmaps/bitmap_list.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/qcow2/checked_image.h"

namespace byre::qcow2 {
namespace {

using test::CheckedImage;

// A directory of bitmaps with a granularity of 64 KiB, one table entry each.
class BitmapList : public testing::Test {
 protected:
  uint64_t add(const std::string& name, uint64_t entry_word, uint32_t flags = 0) {
    std::vector<uint8_t> table(8);
    store_big_endian(table.data(), entry_word);
    layout::BitmapEntry entry;
    const uint64_t table_offset = image_.append(table);
    entry.table_offset = layout::HostOffset(table_offset);
    entry.table_size = 1;
    entry.name = name;
    entry.flags = flags;
    entries_.push_back(entry);
    return table_offset;
  }
  layout::Extensions put_directory() {
    const std::vector<uint8_t> directory = layout::encode_bitmap_directory(entries_);
    layout::BitmapsExtension extension;
    extension.bitmap_count = static_cast<uint32_t>(entries_.size());
    extension.directory_size = directory.size();
    extension.directory_offset = layout::HostOffset(image_.append(directory));
    layout::Extensions extensions;
    extensions.bitmaps = extension;
    return extensions;
  }
  std::vector<layout::BitmapEntry> read_from(BlockDevice& file,
                                             const layout::Extensions& extensions) {
    return sync_wait(read_bitmap_list(&file, extensions, image_.geometry(), 64 << 10));
  }
  std::vector<layout::BitmapEntry> read() { return read_from(image_.file(), put_directory()); }
  std::string refusal() {
    return refusal_of([this] { return read(); });
  }
  template <class Read>
  static std::string refusal_of(Read read) {
    try {
      read();
    } catch (const Error& error) {
      return fmt::format("{} '{}'", error.data().code.view(), error.data().name);
    }
    return "none";
  }

  CheckedImage image_;
  std::vector<layout::BitmapEntry> entries_;
};

TEST_F(BitmapList, GivesTheDirectorysEntriesInTheirOrder) {
  add("one", layout::BitmapTableEntry::kOnes);
  add("two", 0);
  add("three", 0x3000, layout::bitmap_flag::kAuto);
  const std::vector<layout::BitmapEntry> bitmaps = read();
  EXPECT_EQ(bitmaps, entries_);
}

TEST_F(BitmapList, WithoutTheExtensionThereIsNone) {
  EXPECT_TRUE(sync_wait(read_bitmap_list(&image_.file(), {}, image_.geometry(), 64 << 10)).empty());
}

TEST_F(BitmapList, ABadTableEntryNamesTheFirstBitmapThatHasIt) {
  add("good", 0x3000);
  add("unaligned", 0x3200);
  add("reserved", uint64_t{1} << 60);
  EXPECT_EQ(refusal(), "qcow2-bitmap-table-entry-invalid 'unaligned'");
  entries_.erase(entries_.begin() + 1);
  EXPECT_EQ(refusal(), "qcow2-bitmap-table-entry-invalid 'reserved'");
  entries_.erase(entries_.begin() + 1);
  EXPECT_EQ(refusal(), "none");
}

TEST_F(BitmapList, NothingIsReadAfterTheFirstBadTableEntry) {
  // The tables lie in the file in the other order.
  add("unread", 0x3000);
  const uint64_t unread = entries_[0].table_offset.value();
  add("bad", 0x3200);
  std::swap(entries_[0], entries_[1]);
  const layout::Extensions extensions = put_directory();
  faults::FaultDevice file(image_.file().clone());
  file.add_rule({.operation = faults::Operation::kRead, .offset = unread, .length = 8});
  EXPECT_EQ(refusal_of([&] { return read_from(file, extensions); }),
            "qcow2-bitmap-table-entry-invalid 'bad'");
}

// Tables that overlap: each byte is read once.
TEST_F(BitmapList, ATableThatSeveralBitmapsHaveIsReadOnce) {
  for (const char* const name : {"a", "b", "c"}) add(name, 0x3000);
  for (int i = 0; i < 100; ++i) {
    entries_.push_back(entries_[static_cast<size_t>(i % 3)]);
    entries_.back().name = fmt::format("again {}", i);
  }
  const layout::Extensions extensions = put_directory();
  faults::FaultDevice file(image_.file().clone());
  EXPECT_EQ(read_from(file, extensions).size(), 103u);
  EXPECT_EQ(file.count(faults::Operation::kRead), 4u);  // with the directory
}

TEST_F(BitmapList, ATableOfABitmapInUseIsNotRead) {
  add("lost", uint64_t{1} << 60, layout::bitmap_flag::kInUse);
  EXPECT_EQ(refusal(), "none");
}

TEST_F(BitmapList, ABrokenDirectoryIsRefused) {
  add("same", 0);
  add("same", 0);
  EXPECT_EQ(refusal(), "qcow2-bitmap-name-repeated 'same'");
}

TEST_F(BitmapList, ATablePastTheEndOfTheFileReadsAsZeroes) {
  add("far", 0);
  entries_[0].table_offset = layout::HostOffset(uint64_t{1} << 40);
  EXPECT_EQ(refusal(), "none");
}

TEST(ImageOpen, ABadBitmapAndStaleOnesGiveAWarning) {
  CheckedImage image;
  const layout::HeaderCluster sound = image.first_cluster();
  const std::vector<uint8_t> table_bytes = {0x80, 0, 0, 0, 0, 0, 0, 0};
  layout::BitmapEntry entry;
  entry.table_offset = layout::HostOffset(image.append(table_bytes));
  entry.table_size = 1;
  entry.name = "b";
  const std::vector<uint8_t> directory = layout::encode_bitmap_directory({entry});
  layout::HeaderCluster cluster = sound;
  cluster.header.autoclear_features |= layout::autoclear::kBitmaps;
  cluster.extensions.bitmaps.emplace();
  cluster.extensions.bitmaps->bitmap_count = 1;
  cluster.extensions.bitmaps->directory_size = directory.size();
  cluster.extensions.bitmaps->directory_offset = layout::HostOffset(image.append(directory));
  image.file().put(0, cluster.encode());
  const auto open = [&image](OpenOptions options) {
    return sync_wait(Image::open(image.file().clone(), std::move(options)));
  };
  std::vector<Warning> warnings;
  OpenOptions options;
  options.on_warning = [&warnings](const Warning& warning) { warnings.push_back(warning); };
  const std::unique_ptr<Image> broken = open(options);
  EXPECT_TRUE(broken->bitmaps().empty());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].kind, WarningKind::kBitmapsUnreadable);
  EXPECT_EQ(warnings[0].problem.data().name, "b");
  EXPECT_EQ(warnings[0].problem.prefix(), "The bitmaps cannot be used: ");
  warnings.clear();

  // A program that does not know bitmaps has written to it.
  image.put<uint64_t>(88, 0);
  const std::unique_ptr<Image> stale = open(options);
  EXPECT_TRUE(stale->bitmaps().empty());
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].kind, WarningKind::kStaleBitmaps);
  EXPECT_EQ(warnings[0].problem.data().code, "qcow2-bitmaps-stale");

  // And with the bit for a raw data file, but without the bit for bitmaps.
  image.put<uint64_t>(88, layout::autoclear::kRawExternalData);
  try {
    open({});
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.data().code, "qcow2-raw-data-bit-alone");
  }
}

}  // namespace
}  // namespace byre::qcow2
