// SPDX-License-Identifier: Apache-2.0
// The expected messages are what qemu-img 10.0.2 prints for images with the same fields.
#include "qcow2/layout/header.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

std::string parse_refusal(const Header& header, HeaderUse use = {}) {
  const auto bytes = first_cluster(header);
  return refusal([&] { Header::parse(bytes, use); });
}

// The message for a valid header after `change`.
template <class Change>
std::string refusal_after(Change change, HeaderUse use = {}, Header header = sample_header()) {
  change(header);
  return parse_refusal(header, use);
}

// The message for a valid header with other bytes at an offset.
template <class T>
std::string refusal_with(size_t offset, T value) {
  auto bytes = first_cluster(sample_header());
  store_big_endian(bytes.data() + offset, value);
  return refusal([&] { Header::parse(bytes); });
}

TEST(Header, QemusVersion3HeaderIsRead) {
  const auto bytes = golden::from_hex(golden::kVersion3Header, 65536);
  const Header header = Header::parse(bytes);
  EXPECT_EQ(header.version, 3u);
  EXPECT_FALSE(header.has_backing_file());
  EXPECT_EQ(header.cluster_bits, 16u);
  EXPECT_EQ(header.size, 1u << 20);
  EXPECT_EQ(header.crypt_method, CryptMethod::kNone);
  EXPECT_EQ(header.l1_size, 1u);
  EXPECT_EQ(header.l1_table_offset, HostOffset(0x30000));
  EXPECT_EQ(header.refcount_table_offset, HostOffset(0x10000));
  EXPECT_EQ(header.refcount_table_clusters, 1u);
  EXPECT_EQ(header.snapshot_count, 0u);
  EXPECT_EQ(header.incompatible_features, 0u);
  EXPECT_EQ(header.refcount_order, 4u);
  EXPECT_EQ(header.header_length, 112u);
  EXPECT_EQ(header.compression_type, CompressionType::kZlib);
  const auto encoded = header.encode();
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), bytes.begin()));
}

TEST(Header, QemusVersion2HeaderIsReadWithTheDefaultsOfTheSpecification) {
  const auto bytes = golden::from_hex(golden::kVersion2Header, 65536);
  const Header header = Header::parse(bytes);
  EXPECT_EQ(header.version, 2u);
  EXPECT_EQ(header.header_length, 72u);
  EXPECT_EQ(header.refcount_order, 4u);
  EXPECT_EQ(header.incompatible_features | header.compatible_features | header.autoclear_features,
            0u);
  EXPECT_EQ(header.compression_type, CompressionType::kZlib);
  const auto encoded = header.encode();
  EXPECT_EQ(encoded.size(), 72u);
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), bytes.begin()));
}

TEST(Header, QemusFeaturesAreRead) {
  const auto parse = [](const char* hex, size_t size) {
    const auto bytes = golden::from_hex(hex, size);
    const Header header = Header::parse(bytes);
    const auto encoded = header.encode();
    EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), bytes.begin()));
    return header;
  };
  const Header data_file = parse(golden::kDataFileHeader, 65536);
  EXPECT_TRUE(data_file.has_external_data_file());
  EXPECT_TRUE(data_file.has_raw_external_data());
  const Header zstd = parse(golden::kZstdHeader, 2 << 20);
  EXPECT_EQ(zstd.compression_type, CompressionType::kZstd);
  EXPECT_EQ(zstd.refcount_bits(), 1u);
  EXPECT_EQ(zstd.cluster_size(), 2u << 20);
  const Header extended = parse(golden::kExtendedL2Header, 16384);
  EXPECT_TRUE(extended.has_extended_l2());
  EXPECT_TRUE(extended.has_lazy_refcounts());
  EXPECT_EQ(extended.refcount_bits(), 64u);
  EXPECT_EQ(parse(golden::kLuksHeader, 65536).crypt_method, CryptMethod::kLuks);
  EXPECT_TRUE(parse(golden::kBackingHeader, 65536).has_backing_file());
}

TEST(Header, EveryClusterSizeVersionAndRefcountWidthComesBack) {
  for (uint32_t bits = 9; bits <= 21; ++bits) {
    for (const uint32_t version : {2u, 3u}) {
      for (uint32_t order = 0; order <= 6; ++order) {
        Header header = sample_header(version, bits);
        if (version == 3) header.refcount_order = order;
        const auto bytes = first_cluster(header);
        EXPECT_EQ(Header::parse(bytes), header);
        EXPECT_EQ(Header::probe_cluster_size(ConstBytes(bytes).first(512)), header.cluster_size());
      }
    }
  }
}

TEST(Header, FieldsOfLaterRevisionsAreKept) {
  Header header = sample_header();
  header.header_length = 136;
  header.additional_fields.resize(136 - 105);
  for (size_t i = 0; i < header.additional_fields.size(); ++i) {
    header.additional_fields[i] = static_cast<uint8_t>(i + 1);
  }
  EXPECT_EQ(Header::parse(first_cluster(header)), header);
  EXPECT_EQ(header.encode().size(), 136u);
}

TEST(Header, TheShortestVersion3HeaderHasNoCompressionType) {
  Header header = sample_header();
  header.header_length = 104;
  header.additional_fields.clear();
  auto bytes = first_cluster(header);
  bytes[104] = 1;  // belongs to what follows the header
  EXPECT_EQ(Header::parse(bytes), header);
  EXPECT_EQ(header.encode().size(), 104u);
  header.incompatible_features = incompatible::kCompressionType;
  EXPECT_EQ(parse_refusal(header),
            "qcow2: Compression type incompatible feature bit must not be set");
}

TEST(Header, WhatIsNotQcow2IsRefused) {
  EXPECT_EQ(refusal_with<uint32_t>(0, 0x514649fa), "Image is not in qcow2 format");
  EXPECT_EQ(refusal([] { Header::probe_cluster_size({}); }), "Image is not in qcow2 format");
  EXPECT_EQ(refusal([] { Header::parse({}); }), "Image is not in qcow2 format");
}

TEST(Header, OnlyVersions2And3AreSupported) {
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(4, version),
              "Unsupported qcow2 version " + std::to_string(version));
  }
}

TEST(Header, ClustersHaveFrom512BytesTo2MiB) {
  for (const uint32_t bits : {0u, 8u, 22u, 64u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(20, bits),
              "Unsupported cluster size: 2^" + std::to_string(bits));
  }
}

TEST(Header, HeaderLengthIsAtLeast104AndAtMostTheCluster) {
  for (const uint32_t length : {0u, 72u, 103u}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "qcow2 header too short");
  }
  for (const uint32_t length : {65537u, 65544u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "qcow2 header exceeds cluster size");
  }
  for (const uint32_t length : {104u, 105u, 112u, 65528u, 65536u}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "") << length;
  }
}

TEST(Header, TheBackingFileNameStartsInTheFirstCluster) {
  EXPECT_EQ(refusal_with<uint64_t>(8, 65537), "Invalid backing file offset");
  EXPECT_EQ(refusal_with<uint64_t>(8, uint64_t{1} << 63), "Invalid backing file offset");
  EXPECT_EQ(refusal_with<uint64_t>(8, 65536), "");
}

TEST(Header, CompressionTypeAndItsFeatureBitGoTogether) {
  EXPECT_EQ(refusal_with<uint8_t>(104, 1),
            "qcow2: Compression type incompatible feature bit must be set");
  EXPECT_EQ(refusal_with<uint8_t>(104, 9), "qcow2: unknown compression type: 9");
  EXPECT_EQ(refusal_with<uint64_t>(72, incompatible::kCompressionType),
            "qcow2: Compression type incompatible feature bit must not be set");
}

TEST(Header, UnknownIncompatibleFeaturesAreRefusedAndOthersAreNot) {
  EXPECT_EQ(refusal_with<uint64_t>(72, 0x24),
            "Unsupported qcow2 feature(s): Unknown incompatible feature: 20");
  EXPECT_EQ(refusal_with<uint64_t>(80, ~uint64_t{1}), "");
  EXPECT_EQ(refusal_with<uint64_t>(88, ~uint64_t{3}), "");
}

TEST(Header, UnknownFeaturesAreNamedByTheImagesOwnTable) {
  auto bytes = golden::from_hex(golden::kVersion3Header, 65536);
  store_big_endian<uint64_t>(bytes.data() + 72, 0x60);
  bytes[112 + 8 + 1] = 5;  // the table's first entry names bit 5 instead of bit 0
  EXPECT_EQ(refusal([&] { Header::parse(bytes); }),
            "Unsupported qcow2 feature(s): dirty bit, Unknown incompatible feature: 40");
}

TEST(Header, ACorruptImageIsNotOpenedForWritingExceptToRepair) {
  const auto corrupt = [](Header& header) {
    header.incompatible_features = incompatible::kCorrupt;
  };
  EXPECT_EQ(refusal_after(corrupt), "");
  EXPECT_EQ(refusal_after(corrupt, {.writable = true}),
            "qcow2: Image is corrupt; cannot be opened read/write");
  EXPECT_EQ(refusal_after(corrupt, {.writable = true, .for_check = true}), "");
  EXPECT_EQ(refusal_after([](Header& h) { h.incompatible_features = incompatible::kDirty; },
                          {.writable = true}),
            "");
}

TEST(Header, ExtendedL2EntriesNeedClustersOf16KiB) {
  const auto extended = [](Header& h) { h.incompatible_features = incompatible::kExtendedL2; };
  EXPECT_EQ(refusal_after(extended, {}, sample_header(3, 13)), "Unsupported subcluster size: 256");
  EXPECT_EQ(refusal_after(extended, {}, sample_header(3, 9)), "Unsupported subcluster size: 16");
  EXPECT_EQ(refusal_after(extended, {}, sample_header(3, 14)), "");
}

TEST(Header, RefcountsHaveAtMost64Bits) {
  for (const uint32_t order : {7u, 63u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(96, order),
              "Reference count entry width too large; may not exceed 64 bits");
  }
}

TEST(Header, TheRefcountTableHasAtMost8MiB) {
  EXPECT_EQ(refusal_with<uint32_t>(56, 129), "Reference count table too large");
  EXPECT_EQ(refusal_with<uint32_t>(56, 0xffffffff), "Reference count table too large");
  EXPECT_EQ(refusal_with<uint32_t>(56, 128), "");
}

TEST(Header, AnImageHasARefcountTableUnlessItIsToBeChecked) {
  const auto none = [](Header& header) { header.refcount_table_clusters = 0; };
  EXPECT_EQ(refusal_after(none), "Image does not contain a reference count table");
  EXPECT_EQ(refusal_after(none, {.for_check = true}), "");
}

TEST(Header, TheRefcountTableStartsAtACluster) {
  for (const uint64_t offset :
       {uint64_t{1}, uint64_t{512}, uint64_t{1} << 63, 0x7fffffffffff0000u}) {
    EXPECT_EQ(refusal_with<uint64_t>(48, offset), "Reference count table offset invalid");
  }
  EXPECT_EQ(refusal_with<uint64_t>(48, 0x7ffffffffffe0000),
            "Could not initialize refcount handling: Input/output error");
  EXPECT_EQ(refusal_with<uint64_t>(48, 0x7fffffff00000000), "");
}

TEST(Header, TheL1TableHasAtMost32MiBAndStartsAtACluster) {
  EXPECT_EQ(refusal_with<uint32_t>(36, 0x400001), "Active L1 table too large");
  EXPECT_EQ(refusal_with<uint32_t>(36, 0xffffffff), "Active L1 table too large");
  EXPECT_EQ(refusal_with<uint32_t>(36, 0x400000), "");
  for (const uint64_t offset : {uint64_t{1}, uint64_t{512}, uint64_t{1} << 63}) {
    EXPECT_EQ(refusal_with<uint64_t>(40, offset), "Active L1 table offset invalid");
  }
  EXPECT_EQ(refusal_with<uint64_t>(40, 0x7fffffffffff0000),
            "Could not read L1 table: Input/output error");
  EXPECT_EQ(refusal_after([](Header& header) {
              header.l1_table_offset = HostOffset(0x7fffffffffff0000);
              header.l1_size = 8192;
            }),
            "Active L1 table offset invalid");
}

TEST(Header, TheL1TableMapsTheWholeDisk) {
  const auto size = [](uint64_t value) { return refusal_with<uint64_t>(24, value); };
  EXPECT_EQ(size(uint64_t{512} << 20), "");
  EXPECT_EQ(size((uint64_t{512} << 20) + 1), "L1 table is too small");
  EXPECT_EQ(size((uint64_t{1} << 29) * 0x7fffffff), "L1 table is too small");
  EXPECT_EQ(size((uint64_t{1} << 29) * 0x80000000), "Image is too big");
  EXPECT_EQ(size(uint64_t{0} - (uint64_t{1} << 29)), "Image is too big");
  EXPECT_EQ(size(uint64_t{1} - (uint64_t{1} << 29)),
            "Could not refresh total sector count: File too large");
  EXPECT_EQ(size(UINT64_MAX), "Could not refresh total sector count: File too large");
  EXPECT_EQ(refusal_after([](Header& header) { header.l1_size = 0; }), "L1 table is too small");
  EXPECT_EQ(refusal_after([](Header& header) { header.l1_size = 0, header.size = 0; }), "");
}

TEST(Header, TheSnapshotTableHasAtMost65536EntriesAndStartsAtACluster) {
  const auto snapshots = [](uint32_t count, uint64_t offset, HeaderUse use = {.writable = true}) {
    Header header = sample_header();
    header.snapshot_count = count;
    header.snapshots_offset = HostOffset(offset);
    return parse_refusal(header, use);
  };
  EXPECT_EQ(snapshots(65537, 0), "Snapshot table too large");
  EXPECT_EQ(snapshots(65537, 1), "Snapshot table too large");
  EXPECT_EQ(snapshots(65536, 0x10000), "");
  EXPECT_EQ(snapshots(1, 512), "Snapshot table offset invalid");
  EXPECT_EQ(snapshots(0, 1), "Snapshot table offset invalid");
  EXPECT_EQ(snapshots(1, uint64_t{1} << 63), "Snapshot table offset invalid");
  EXPECT_EQ(snapshots(1638, 0x7fffffffffff0000), "");
  EXPECT_EQ(snapshots(1639, 0x7fffffffffff0000), "Snapshot table offset invalid");
  EXPECT_EQ(snapshots(65537, 1, {.for_check = true}), "");
  EXPECT_EQ(snapshots(65537, 1, {}), "");  // the disk can be read without snapshots
}

TEST(Header, OnlyTheSpecificationsEncryptionMethodsAreSupported) {
  EXPECT_EQ(refusal_with<uint32_t>(32, 1), "");
  EXPECT_EQ(refusal_with<uint32_t>(32, 2), "");  // Extensions::parse requires its header extension
  EXPECT_EQ(refusal_with<uint32_t>(32, 3), "Unsupported encryption method 3");
  EXPECT_EQ(refusal_with<uint32_t>(32, 0xffffffff), "Unsupported encryption method -1");
}

// Each error together with every later one: the first is reported, as by qemu-img.
TEST(Header, OfTwoErrorsTheOneThatQemuFindsFirstIsReported) {
  const std::vector<void (*)(Header&)> mistakes = {
      [](Header& h) { h.backing_file_offset = 1 << 30; },
      [](Header& h) { h.compression_type = CompressionType::kZstd; },
      [](Header& h) { h.incompatible_features |= 0x20; },
      [](Header& h) { h.incompatible_features |= incompatible::kCorrupt; },
      [](Header& h) { h.refcount_order = 7; },
      [](Header& h) { h.refcount_table_clusters = 129; },
      [](Header& h) { h.refcount_table_offset = HostOffset(1); },
      [](Header& h) { h.snapshots_offset = HostOffset(1); },
      [](Header& h) { h.l1_table_offset = HostOffset(1); },
      [](Header& h) { h.size = uint64_t{1} << 40; },
      [](Header& h) { h.crypt_method = static_cast<CryptMethod>(3); },
  };
  const HeaderUse use{.writable = true};
  for (size_t first = 0; first < mistakes.size(); ++first) {
    const std::string alone = refusal_after(mistakes[first], use);
    EXPECT_NE(alone, "") << first;
    for (size_t second = first + 1; second < mistakes.size(); ++second) {
      EXPECT_EQ(refusal_after([&](Header& h) { mistakes[first](h), mistakes[second](h); }, use),
                alone)
          << first << " " << second;
    }
  }
}

TEST(Header, AFileThatEndsEarlyIsReadAsZeroes) {
  const auto bytes = golden::from_hex(golden::kVersion3Header);
  const auto probe = [&](size_t size) {
    return refusal([&] { Header::probe_cluster_size(ConstBytes(bytes).first(size)); });
  };
  EXPECT_EQ(probe(3), "Image is not in qcow2 format");
  EXPECT_EQ(probe(4), "Unsupported qcow2 version 0");
  EXPECT_EQ(probe(8), "Unsupported cluster size: 2^0");
  EXPECT_EQ(probe(24), "");
}

}  // namespace
}  // namespace byre::qcow2::layout
