// SPDX-License-Identifier: Apache-2.0
// The order of the checks is that of qemu-img 10.0.2 for images with the same fields.
#include "qcow2/layout/header.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

Refusal parse_refusal(const Header& header, HeaderUse use = {}) {
  const auto bytes = first_cluster(header);
  return refusal([&] { Header::parse(bytes, use); });
}

// For a valid header after `change`.
template <class Change>
Refusal refusal_after(Change change, HeaderUse use = {}, Header header = sample_header()) {
  change(header);
  return parse_refusal(header, use);
}

// For a valid header with other bytes at an offset.
template <class T>
Refusal refusal_with(size_t offset, T value) {
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
  EXPECT_EQ(parse_refusal(header), "qcow2-compression-bit-set");
}

TEST(Header, WhatIsNotQcow2IsRefused) {
  EXPECT_EQ(refusal_with<uint32_t>(0, 0x514649fa), "qcow2-magic-wrong");
  EXPECT_EQ(refusal([] { Header::probe_cluster_size({}); }), "qcow2-magic-wrong");
  EXPECT_EQ(refusal([] { Header::parse({}); }), "qcow2-magic-wrong");
}

TEST(Header, OnlyVersions2And3AreSupported) {
  for (const uint32_t version : {0u, 1u, 4u, 0xffffffffu}) {
    const Refusal refused = refusal_with<uint32_t>(4, version);
    EXPECT_EQ(refused, "qcow2-version-unknown");
    EXPECT_EQ(refused.data.value, version);
    EXPECT_EQ(refused.sentence, fmt::format("version is {}, not 2 or 3", version));
  }
}

TEST(Header, ClustersHaveFrom512BytesTo2MiB) {
  for (const uint32_t bits : {0u, 8u, 22u, 64u, 0xffffffffu}) {
    const Refusal refused = refusal_with<uint32_t>(20, bits);
    EXPECT_EQ(refused, "qcow2-cluster-size-invalid");
    EXPECT_EQ(refused.data.value, bits);
    EXPECT_EQ(refused.sentence, fmt::format("cluster_bits is {}, not from 9 to 21", bits));
  }
}

TEST(Header, HeaderLengthIsAtLeast104AndAtMostTheCluster) {
  for (const uint32_t length : {0u, 72u, 103u}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "qcow2-header-too-short");
    EXPECT_EQ(refusal_with<uint32_t>(100, length).sentence,
              fmt::format("header_length is {}; version 3 has at least 104", length));
  }
  for (const uint32_t length : {65537u, 65544u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "qcow2-header-too-long");
  }
  for (const uint32_t length : {104u, 105u, 112u, 65528u, 65536u}) {
    EXPECT_EQ(refusal_with<uint32_t>(100, length), "") << length;
  }
}

TEST(Header, TheBackingFileNameStartsInTheFirstCluster) {
  EXPECT_EQ(refusal_with<uint64_t>(8, 65537), "qcow2-backing-offset-invalid");
  EXPECT_EQ(refusal_with<uint64_t>(8, uint64_t{1} << 63), "qcow2-backing-offset-invalid");
  EXPECT_EQ(refusal_with<uint64_t>(8, 65536), "");
}

TEST(Header, CompressionTypeAndItsFeatureBitGoTogether) {
  EXPECT_EQ(refusal_with<uint8_t>(104, 1), "qcow2-compression-bit-clear");
  EXPECT_EQ(refusal_with<uint8_t>(104, 9), "qcow2-compression-type-unknown");
  EXPECT_EQ(refusal_with<uint8_t>(104, 9).data.value, 9);
  EXPECT_EQ(refusal_with<uint64_t>(72, incompatible::kCompressionType),
            "qcow2-compression-bit-set");
}

TEST(Header, UnknownIncompatibleFeaturesAreRefusedAndOthersAreNot) {
  const Refusal refused = refusal_with<uint64_t>(72, 0x24);
  EXPECT_EQ(refused, "qcow2-features-unknown");
  EXPECT_EQ(refused.data.name, "Unknown incompatible feature: 20");
  EXPECT_EQ(refused.data.value, 0x24);
  EXPECT_EQ(refusal_with<uint64_t>(80, ~uint64_t{1}), "");
  EXPECT_EQ(refusal_with<uint64_t>(88, ~uint64_t{3}), "");
}

TEST(Header, UnknownFeaturesAreNamedByTheImagesOwnTable) {
  auto bytes = golden::from_hex(golden::kVersion3Header, 65536);
  store_big_endian<uint64_t>(bytes.data() + 72, 0x60);
  bytes[112 + 8 + 1] = 5;  // the table's first entry names bit 5 instead of bit 0
  const Refusal refused = refusal([&] { Header::parse(bytes); });
  EXPECT_EQ(refused, "qcow2-features-unknown");
  EXPECT_EQ(refused.data.name, "dirty bit, Unknown incompatible feature: 40");
}

TEST(Header, ACorruptImageIsNotOpenedForWritingExceptToRepair) {
  const auto corrupt = [](Header& header) {
    header.incompatible_features = incompatible::kCorrupt;
  };
  EXPECT_EQ(refusal_after(corrupt), "");
  EXPECT_EQ(refusal_after(corrupt, {.writable = true}), "qcow2-is-corrupt");
  EXPECT_EQ(refusal_after(corrupt, {.writable = true, .for_check = true}), "");
  EXPECT_EQ(refusal_after([](Header& h) { h.incompatible_features = incompatible::kDirty; },
                          {.writable = true}),
            "");
}

TEST(Header, ExtendedL2EntriesNeedClustersOf16KiB) {
  const auto extended = [](Header& h) { h.incompatible_features = incompatible::kExtendedL2; };
  for (const uint32_t bits : {9u, 13u}) {
    const Refusal refused = refusal_after(extended, {}, sample_header(3, bits));
    EXPECT_EQ(refused, "qcow2-subclusters-too-small");
    EXPECT_EQ(refused.data.value, bits);
    EXPECT_EQ(refused.data.bound, 14);
  }
  EXPECT_EQ(refusal_after(extended, {}, sample_header(3, 14)), "");
}

TEST(Header, RefcountsHaveAtMost64Bits) {
  for (const uint32_t order : {7u, 63u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(96, order), "qcow2-refcounts-too-wide");
  }
}

TEST(Header, TheRefcountTableHasAtMost8MiB) {
  EXPECT_EQ(refusal_with<uint32_t>(56, 129), "qcow2-refcount-table-too-large");
  EXPECT_EQ(refusal_with<uint32_t>(56, 0xffffffff), "qcow2-refcount-table-too-large");
  EXPECT_EQ(refusal_with<uint32_t>(56, 128), "");
}

TEST(Header, AnImageHasARefcountTableUnlessItIsToBeChecked) {
  const auto none = [](Header& header) { header.refcount_table_clusters = 0; };
  EXPECT_EQ(refusal_after(none), "qcow2-refcount-table-missing");
  EXPECT_EQ(refusal_after(none, {.for_check = true}), "");
}

TEST(Header, TheRefcountTableStartsAtACluster) {
  for (const uint64_t offset :
       {uint64_t{1}, uint64_t{512}, uint64_t{1} << 63, 0x7fffffffffff0000u}) {
    EXPECT_EQ(refusal_with<uint64_t>(48, offset), "qcow2-refcount-table-offset-invalid");
  }
  EXPECT_EQ(refusal_with<uint64_t>(48, 0x7ffffffffffe0000), "qcow2-refcount-table-past-end");
  EXPECT_EQ(refusal_with<uint64_t>(48, 0x7fffffff00000000), "");
}

TEST(Header, TheL1TableHasAtMost32MiBAndStartsAtACluster) {
  EXPECT_EQ(refusal_with<uint32_t>(36, 0x400001), "qcow2-l1-table-too-large");
  EXPECT_EQ(refusal_with<uint32_t>(36, 0xffffffff), "qcow2-l1-table-too-large");
  EXPECT_EQ(refusal_with<uint32_t>(36, 0x400000), "");
  for (const uint64_t offset : {uint64_t{1}, uint64_t{512}, uint64_t{1} << 63}) {
    EXPECT_EQ(refusal_with<uint64_t>(40, offset), "qcow2-l1-table-offset-invalid");
  }
  EXPECT_EQ(refusal_with<uint64_t>(40, 3).sentence,
            "l1_table_offset is 0x3, not a multiple of the cluster size 65536");
  EXPECT_EQ(refusal_with<uint64_t>(40, 0x7fffffffffff0000), "qcow2-l1-table-past-end");
  EXPECT_EQ(refusal_after([](Header& header) {
              header.l1_table_offset = HostOffset(0x7fffffffffff0000);
              header.l1_size = 8192;
            }),
            "qcow2-l1-table-offset-invalid");
}

TEST(Header, TheL1TableMapsTheWholeDisk) {
  const auto size = [](uint64_t value) { return refusal_with<uint64_t>(24, value); };
  EXPECT_EQ(size(uint64_t{512} << 20), "");
  EXPECT_EQ(size((uint64_t{512} << 20) + 1), "qcow2-l1-table-too-small");
  EXPECT_EQ(size((uint64_t{1} << 29) * 0x7fffffff), "qcow2-l1-table-too-small");
  EXPECT_EQ(size((uint64_t{1} << 29) * 0x80000000), "qcow2-size-too-large");
  EXPECT_EQ(size(uint64_t{0} - (uint64_t{1} << 29)), "qcow2-size-too-large");
  EXPECT_EQ(size(uint64_t{1} - (uint64_t{1} << 29)), "qcow2-size-impossible");
  EXPECT_EQ(size(UINT64_MAX), "qcow2-size-impossible");
  EXPECT_EQ(refusal_after([](Header& header) { header.l1_size = 0; }), "qcow2-l1-table-too-small");
  EXPECT_EQ(refusal_after([](Header& header) { header.l1_size = 0, header.size = 0; }), "");
}

TEST(Header, TheSnapshotTableHasAtMost65536EntriesAndStartsAtACluster) {
  const auto snapshots = [](uint32_t count, uint64_t offset, HeaderUse use = {.writable = true}) {
    Header header = sample_header();
    header.snapshot_count = count;
    header.snapshots_offset = HostOffset(offset);
    return parse_refusal(header, use);
  };
  EXPECT_EQ(snapshots(65537, 0), "qcow2-snapshots-too-many");
  EXPECT_EQ(snapshots(65537, 1), "qcow2-snapshots-too-many");
  EXPECT_EQ(snapshots(65536, 0x10000), "");
  EXPECT_EQ(snapshots(1, 512), "qcow2-snapshot-table-offset-invalid");
  EXPECT_EQ(snapshots(0, 1), "qcow2-snapshot-table-offset-invalid");
  EXPECT_EQ(snapshots(1, uint64_t{1} << 63), "qcow2-snapshot-table-offset-invalid");
  EXPECT_EQ(snapshots(1638, 0x7fffffffffff0000), "");
  EXPECT_EQ(snapshots(1639, 0x7fffffffffff0000), "qcow2-snapshot-table-offset-invalid");
  EXPECT_EQ(snapshots(65537, 1, {.for_check = true}), "");
  EXPECT_EQ(snapshots(65537, 1, {}), "");  // the disk can be read without snapshots
}

TEST(Header, OnlyTheSpecificationsEncryptionMethodsAreSupported) {
  EXPECT_EQ(refusal_with<uint32_t>(32, 1), "");
  EXPECT_EQ(refusal_with<uint32_t>(32, 2), "");  // Extensions::parse requires its header extension
  for (const uint32_t method : {3u, 0xffffffffu}) {
    EXPECT_EQ(refusal_with<uint32_t>(32, method), "qcow2-crypt-method-unknown");
    EXPECT_EQ(refusal_with<uint32_t>(32, method).data.value, method);
  }
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
    const Refusal alone = refusal_after(mistakes[first], use);
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
  EXPECT_EQ(probe(3), "qcow2-magic-wrong");
  EXPECT_EQ(probe(4), "qcow2-version-unknown");
  EXPECT_EQ(probe(4).data.value, 0);
  EXPECT_EQ(probe(8), "qcow2-cluster-size-invalid");
  EXPECT_EQ(probe(8).data.value, 0);
  EXPECT_EQ(probe(24), "");
}

}  // namespace
}  // namespace byre::qcow2::layout
