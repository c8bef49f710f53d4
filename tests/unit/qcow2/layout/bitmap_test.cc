// SPDX-License-Identifier: Apache-2.0
// What is refused is what qemu-img 10.0.2 refuses, in its order.
#include "qcow2/layout/bitmap.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

constexpr uint64_t kDiskSize = 1 << 20;

BitmapEntry sample(std::string name = "b0") {
  BitmapEntry entry;
  entry.table_offset = HostOffset(0x60000);
  entry.table_size = 1;
  entry.flags = bitmap_flag::kAuto;
  entry.name = std::move(name);
  return entry;
}

std::vector<BitmapEntry> parse(const std::vector<uint8_t>& bytes, uint32_t count,
                               uint64_t disk_size = kDiskSize) {
  const BitmapsExtension extension{count, bytes.size(), HostOffset(0x80000)};
  return parse_bitmap_directory(bytes, extension, sample_geometry(16), disk_size);
}

Refusal parse_refusal(const std::vector<uint8_t>& bytes, uint32_t count = 1,
                      uint64_t disk_size = kDiskSize) {
  return refusal([&] { parse(bytes, count, disk_size); });
}

template <class Change>
Refusal refusal_after(Change change, uint64_t disk_size = kDiskSize) {
  BitmapEntry entry = sample();
  change(entry);
  return parse_refusal(encode_bitmap_directory({entry}), 1, disk_size);
}

constexpr const char* kConstraints = "qcow2-bitmap-invalid";

TEST(Bitmap, QemusDirectoryComesBackByteForByte) {
  const auto bytes = golden::from_hex(golden::kBitmapDirectory);
  const auto bitmaps = parse(bytes, 2);
  ASSERT_EQ(bitmaps.size(), 2u);
  EXPECT_EQ(bitmaps[0].name, "b0");
  EXPECT_TRUE(bitmaps[0].is_auto());
  EXPECT_FALSE(bitmaps[0].in_use());
  EXPECT_EQ(bitmaps[0].granularity(), 65536u);
  EXPECT_EQ(bitmaps[0].table_size, 1u);
  EXPECT_EQ(bitmaps[1].name, "disabled one");
  EXPECT_FALSE(bitmaps[1].is_auto());
  EXPECT_EQ(bitmaps[1].granularity(), 512u);
  EXPECT_EQ(encode_bitmap_directory(bitmaps), bytes);
}

TEST(Bitmap, ANameIsShownUpToItsFirstZeroByteAndKeptWhole) {
  const std::string name("a\0b", 3);
  const auto bytes = encode_bitmap_directory({sample(name), sample("other")});
  const auto bitmaps = parse(bytes, 2);
  EXPECT_EQ(bitmaps[0].text(), "a");
  EXPECT_EQ(bitmaps[0].name, name);
  EXPECT_EQ(encode_bitmap_directory(bitmaps), bytes);
  EXPECT_EQ(parse_refusal(encode_bitmap_directory({sample(name), sample("a")}), 2),
            "qcow2-bitmap-name-repeated");
}

TEST(Bitmap, TheExtensionComesBack) {
  const BitmapsExtension extension{7, 1000, HostOffset(0x90000)};
  EXPECT_EQ(BitmapsExtension::parse(extension.encode(), 65536), extension);
}

TEST(Bitmap, ADirectoryThatCannotBeReadIsRefused) {
  const auto check = [](uint64_t size, uint64_t offset) {
    return refusal([&] { BitmapsExtension{1, size, HostOffset(offset)}.check_directory(); });
  };
  EXPECT_EQ(check(0, 0x10000), "qcow2-bitmap-directory-empty");
  EXPECT_EQ(check(32, 0x7fffffffffff0000), "qcow2-bitmap-directory-past-end");
  EXPECT_EQ(check(32, uint64_t{1} << 63), "qcow2-bitmap-directory-past-end");
  EXPECT_EQ(check(32, 0x10000), "");
}

TEST(Bitmap, TheDirectoryHasAsManyEntriesAsTheExtensionSays) {
  const auto bytes = golden::from_hex(golden::kBitmapDirectory);
  EXPECT_EQ(parse_refusal(bytes, 1), "qcow2-bitmaps-more-than-stated");
  EXPECT_EQ(parse_refusal(bytes, 3), "qcow2-bitmaps-fewer-than-stated");
}

TEST(Bitmap, EntriesEndInsideTheDirectory) {
  auto bytes = encode_bitmap_directory({sample()});
  const auto cut = [&](size_t size) {
    return parse_refusal(std::vector<uint8_t>(bytes.begin(), bytes.begin() + size));
  };
  for (const size_t size : {1u, 8u, 23u, 24u, 31u})
    EXPECT_EQ(cut(size), "qcow2-bitmap-directory-broken") << size;
  EXPECT_EQ(cut(32), "");
  store_big_endian<uint16_t>(bytes.data() + 18, 65535);
  EXPECT_EQ(parse_refusal(bytes), "qcow2-bitmap-directory-broken");
  store_big_endian<uint16_t>(bytes.data() + 18, 2);
  for (const uint32_t size : {8u, 0xfffffff0u, 0xffffffffu}) {
    store_big_endian<uint32_t>(bytes.data() + 20, size);
    EXPECT_EQ(parse_refusal(bytes), "qcow2-bitmap-directory-broken") << size;
  }
}

TEST(Bitmap, TablesStartAtAClusterAndAreNotEmpty) {
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, uint64_t{512}}) {
    EXPECT_EQ(refusal_after([&](BitmapEntry& e) { e.table_offset = HostOffset(offset); }),
              kConstraints);
  }
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_offset = HostOffset(uint64_t{1} << 63); }),
            "qcow2-bitmap-table-past-end");
  const Refusal refused = refusal_after([](BitmapEntry& e) { e.table_size = 0; });
  EXPECT_EQ(refused, kConstraints);
  EXPECT_EQ(refused.data.name, "b0");
  EXPECT_EQ(refused.sentence, "bitmap_table_size of bitmap directory entry 0, 'b0', is invalid");
}

TEST(Bitmap, TablesAreAsLongAsTheDiskNeeds) {
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_size = 2; }),
            "qcow2-bitmap-table-size-wrong");
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_size = 0x2001; }), kConstraints);
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_size = 0xffffffff; }), kConstraints);
  // 512 MiB at 512 bytes a bit: two clusters of bits.
  const uint64_t disk = uint64_t{512} << 20;
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.granularity_bits = 9; }, disk), kConstraints);
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.granularity_bits = 9, e.table_size = 2; }, disk),
            "");
}

TEST(Bitmap, APartialSectorAtTheEndOfTheDiskHasNoBits) {
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_size = 1; }, 512), "");
  EXPECT_EQ(refusal_after([](BitmapEntry& e) { e.table_size = 1; }, 511),
            "qcow2-bitmap-table-size-wrong");
}

TEST(Bitmap, ABitmapInUseMayHaveAnotherSizeThanTheDisk) {
  const auto in_use = [](uint32_t table_size) {
    return refusal_after(
        [&](BitmapEntry& e) {
          e.flags = bitmap_flag::kInUse;
          e.table_size = table_size;
          e.granularity_bits = 9;
        },
        uint64_t{1} << 40);
  };
  EXPECT_EQ(in_use(1), "");
  EXPECT_EQ(in_use(0x2000), "");
  EXPECT_EQ(in_use(0x2001), kConstraints);
}

TEST(Bitmap, ReservedFlagsTypesAndGranularitiesAreRefused) {
  for (uint32_t bit = 3; bit < 32; ++bit) {
    EXPECT_EQ(refusal_after([&](BitmapEntry& e) { e.flags |= 1u << bit; }), kConstraints) << bit;
  }
  for (const uint8_t type : {0, 2, 255}) {
    EXPECT_EQ(refusal_after([&](BitmapEntry& e) { e.type = type; }), kConstraints);
  }
  for (const uint8_t bits : {0, 8, 32, 63, 64, 255}) {
    EXPECT_EQ(refusal_after([&](BitmapEntry& e) { e.granularity_bits = bits; }), kConstraints);
  }
  for (uint8_t bits = 9; bits <= 31; ++bits) {
    EXPECT_EQ(refusal_after([&](BitmapEntry& e) { e.granularity_bits = bits; }), "");
  }
}

TEST(Bitmap, NamesHaveOneTo1023BytesAndAreUnique) {
  auto bytes = encode_bitmap_directory({sample(std::string(1023, 'n'))});
  EXPECT_EQ(parse_refusal(bytes), "");
  bytes.resize(24 + 1024);
  bytes.back() = 'n';
  store_big_endian<uint16_t>(bytes.data() + 18, 1024);
  EXPECT_EQ(parse_refusal(bytes), kConstraints);
  EXPECT_EQ(parse_refusal(bytes).data.name, std::string(1024, 'n'));
  EXPECT_EQ(parse_refusal(bytes).data.field, "name_size");
  store_big_endian<uint16_t>(bytes.data() + 18, 0);
  bytes.resize(24);
  EXPECT_EQ(parse_refusal(bytes), kConstraints);
  EXPECT_EQ(parse_refusal(bytes).data.name, "");
  EXPECT_EQ(parse_refusal(encode_bitmap_directory({sample("a"), sample("a")}), 2),
            "qcow2-bitmap-name-repeated");
  // qemu-img accepts duplicate names of bitmaps that are in use.
  BitmapEntry in_use = sample("a");
  in_use.flags |= bitmap_flag::kInUse;
  EXPECT_EQ(parse_refusal(encode_bitmap_directory({in_use, in_use}), 2), "");
}

TEST(Bitmap, ExtraDataIsKeptAndAllowsUseIfItsFlagIsSet) {
  BitmapEntry entry = sample();
  entry.extra_data = {1, 2, 3};
  auto parsed = parse(encode_bitmap_directory({entry}), 1);
  EXPECT_EQ(parsed.at(0), entry);
  EXPECT_FALSE(parsed.at(0).extra_data_allows_use());
  entry.flags |= bitmap_flag::kExtraDataCompatible;
  parsed = parse(encode_bitmap_directory({entry}), 1);
  EXPECT_EQ(parsed.at(0), entry);
  EXPECT_TRUE(parsed.at(0).extra_data_allows_use());
  EXPECT_TRUE(sample().extra_data_allows_use());
}

TEST(Bitmap, DataHasOneBitForEachGranule) {
  EXPECT_EQ(bitmap_data_size(0, 16), 0u);
  EXPECT_EQ(bitmap_data_size(1, 16), 1u);
  EXPECT_EQ(bitmap_data_size(8 * 65536, 16), 1u);
  EXPECT_EQ(bitmap_data_size(8 * 65536 + 1, 16), 2u);
  EXPECT_EQ(bitmap_data_size(UINT64_MAX, 0), uint64_t{1} << 61);
  EXPECT_EQ(bitmap_data_size(UINT64_MAX, 63), 1u);
  EXPECT_EQ(bitmap_table_entries_for(uint64_t{1} << 40, 16, sample_geometry(16)), 32u);
}

TEST(BitmapTableEntry, EachWordIsOneOfFourKinds) {
  const Geometry geometry = sample_geometry(16);
  EXPECT_EQ(BitmapTableEntry::zeroes().kind(geometry), BitmapTableKind::kZeroes);
  EXPECT_EQ(BitmapTableEntry::ones().kind(geometry), BitmapTableKind::kOnes);
  EXPECT_EQ(BitmapTableEntry::cluster(HostOffset(0x10000)).kind(geometry),
            BitmapTableKind::kCluster);
  EXPECT_EQ(BitmapTableEntry(0x10001).kind(geometry), BitmapTableKind::kInvalid);
  EXPECT_EQ(BitmapTableEntry(0x10200).kind(geometry), BitmapTableKind::kInvalid);
  for (uint32_t bit = 0; bit < 64; ++bit) {
    const BitmapTableEntry entry(uint64_t{1} << bit);
    const bool reserved = (bit >= 1 && bit <= 8) || bit >= 56;
    EXPECT_EQ(entry.reserved_bits(), reserved ? entry.word() : 0) << bit;
    if (reserved) {
      EXPECT_EQ(entry.kind(geometry), BitmapTableKind::kInvalid) << bit;
    }
    if (bit >= 16 && bit <= 55) {
      EXPECT_EQ(entry.kind(geometry), BitmapTableKind::kCluster) << bit;
    }
  }
  EXPECT_EQ(BitmapTableEntry(0x10001).reserved_bits(), 1u);
}

ReadableBitmaps read_leniently(const std::vector<uint8_t>& bytes, uint32_t count) {
  const BitmapsExtension extension{count, bytes.size(), HostOffset(0x90000)};
  return read_bitmap_directory(bytes, extension, sample_geometry(16), kDiskSize);
}

TEST(Bitmap, NamesThatLookAlikeAreRepeatedForTheRepairAsWell) {
  const std::string first("a\0b", 3);
  const std::string second("a\0c", 3);
  const auto bytes =
      encode_bitmap_directory({sample("good"), sample(first), sample("fine"), sample(second)});
  EXPECT_EQ(parse_refusal(bytes, 4), "qcow2-bitmap-name-repeated");
  const ReadableBitmaps all = read_leniently(bytes, 4);
  ASSERT_EQ(all.bitmaps.size(), 2u);
  EXPECT_EQ(parse(encode_bitmap_directory(all.bitmaps), 2).size(), 2u);
  ASSERT_EQ(all.broken.size(), 2u);
  EXPECT_EQ(all.broken[0].index, 1u);
  EXPECT_EQ(all.broken[1].index, 3u);
  for (const BrokenBitmap& broken : all.broken) EXPECT_EQ(broken.name, "a");
}

// As long as a directory may be: the search for the next entry looks at each of its 8 million
// places.
TEST(Bitmap, ADirectoryOfGarbageIsSkippedWhole) {
  std::vector<uint8_t> bytes(limits::kBitmapDirectorySizeMax, 0xff);
  const std::vector<uint8_t> entry = encode_bitmap_directory({sample("last")});
  std::ranges::copy(entry, bytes.end() - static_cast<ptrdiff_t>(entry.size()));
  const ReadableBitmaps all = read_leniently(bytes, 2);
  ASSERT_EQ(all.bitmaps.size(), 1u);
  EXPECT_EQ(all.bitmaps[0].name, "last");
  EXPECT_EQ(all.broken.size(), 1u);
}

}  // namespace
}  // namespace byre::qcow2::layout
