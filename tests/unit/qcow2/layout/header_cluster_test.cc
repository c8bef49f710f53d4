// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/header_cluster.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

struct Image {
  const char* hex;
  size_t cluster_size;
};

constexpr Image kImages[] = {
    {golden::kVersion3Header, 65536}, {golden::kVersion2Header, 65536},
    {golden::kBackingHeader, 65536},  {golden::kDataFileHeader, 65536},
    {golden::kZstdHeader, 2 << 20},   {golden::kExtendedL2Header, 16384},
    {golden::kLuksHeader, 65536},     {golden::kBitmapsHeader, 65536},
};

TEST(HeaderCluster, WhatQemuWroteComesBackByteForByte) {
  for (const Image& image : kImages) {
    const auto bytes = golden::from_hex(image.hex, image.cluster_size);
    HeaderCluster cluster = HeaderCluster::parse(bytes);
    const HeaderCluster before = cluster;
    EXPECT_EQ(cluster.encode(), bytes);
    EXPECT_EQ(cluster, before);
  }
}

TEST(HeaderCluster, QemusNamesAreRead) {
  const auto parse = [](const char* hex) {
    return HeaderCluster::parse(golden::from_hex(hex, 65536));
  };
  const HeaderCluster backing = parse(golden::kBackingHeader);
  EXPECT_EQ(backing.backing_file_name, "base.raw");
  EXPECT_EQ(backing.extensions.backing_format, "raw");
  EXPECT_EQ(parse(golden::kDataFileHeader).extensions.data_file_name, "d.raw");
  EXPECT_EQ(parse(golden::kVersion3Header).extensions.feature_names, known_feature_names());
  const auto bitmaps = parse(golden::kBitmapsHeader).extensions.bitmaps;
  ASSERT_TRUE(bitmaps);
  EXPECT_EQ(bitmaps->bitmap_count, 2u);
  const auto crypto = parse(golden::kLuksHeader).extensions.crypto_header;
  ASSERT_TRUE(crypto);
  EXPECT_TRUE(is_aligned(crypto->offset.value(), 65536));
}

// Sizes that qemu-img accepts and refuses.
TEST(HeaderCluster, ABackingFileNameHas1023BytesAtMostAndStaysInTheFirstCluster) {
  const auto with_name = [](uint64_t offset, uint32_t size) {
    Header header = sample_header();
    header.backing_file_offset = offset;
    header.backing_file_size = size;
    const auto bytes = first_cluster(header);
    return refusal([&] { HeaderCluster::parse(bytes); });
  };
  EXPECT_EQ(with_name(512, 1023), "");
  EXPECT_EQ(with_name(512, 1024), "qcow2-backing-name-too-long");
  EXPECT_EQ(with_name(512, 0xffffffff), "qcow2-backing-name-too-long");
  EXPECT_EQ(with_name(65530, 6), "");
  EXPECT_EQ(with_name(65530, 7), "qcow2-backing-name-too-long");
  EXPECT_EQ(with_name(65536, 0), "");
  EXPECT_EQ(with_name(65536, 1), "qcow2-backing-name-too-long");
  EXPECT_EQ(with_name(512, 0), "");
  // Without an offset the size means nothing.
  EXPECT_EQ(with_name(0, 0xffffffff), "");
}

TEST(HeaderCluster, ABackingFileNameEndsAtAZeroByte) {
  const auto name = [](const char* bytes, size_t size) {
    Header header = sample_header();
    header.backing_file_offset = 512;
    header.backing_file_size = static_cast<uint32_t>(size);
    auto cluster = first_cluster(header);
    std::copy_n(bytes, size, cluster.begin() + 512);
    return HeaderCluster::parse(cluster).backing_file_name;
  };
  EXPECT_EQ(name("base", 4), "base");
  EXPECT_EQ(name("ba\0e", 4), "ba");
  EXPECT_EQ(name("\0ase", 4), "");
}

TEST(HeaderCluster, TheBackingFileNameMovesAfterTheExtensions) {
  HeaderCluster cluster{sample_header(), {}, "base.qcow2"};
  cluster.encode();
  EXPECT_EQ(cluster.header.backing_file_offset, 120u);
  EXPECT_EQ(cluster.header.backing_file_size, 10u);
  cluster.extensions.backing_format = "qcow2";
  const auto bytes = cluster.encode();
  EXPECT_EQ(cluster.header.backing_file_offset, 136u);
  EXPECT_EQ(HeaderCluster::parse(bytes), cluster);
  cluster.backing_file_name.clear();
  EXPECT_EQ(HeaderCluster::parse(cluster.encode()), cluster);
  EXPECT_FALSE(cluster.header.has_backing_file());
}

TEST(HeaderCluster, WhatDoesNotFitIsRefused) {
  HeaderCluster cluster{sample_header(3, 9), {}, std::string(512 - 120, 'n')};
  EXPECT_EQ(cluster.encode().size(), 512u);
  cluster.backing_file_name += "n";
  try {
    cluster.encode();
    ADD_FAILURE() << "one byte too many was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
    EXPECT_EQ(error.errno_value(), ENOSPC);
    EXPECT_EQ(error.data().code, "qcow2-header-too-large");
    EXPECT_EQ(error.data().value, 513);
  }
}

TEST(HeaderCluster, EveryClusterSizeAndVersionComesBack) {
  for (uint32_t bits = 9; bits <= 21; ++bits) {
    for (const uint32_t version : {2u, 3u}) {
      HeaderCluster cluster{sample_header(version, bits), {}, "b"};
      cluster.extensions.backing_format = "raw";
      cluster.extensions.unknown = {{42, {1, 2, 3}}};
      const auto bytes = cluster.encode();
      EXPECT_EQ(bytes.size(), uint64_t{1} << bits);
      EXPECT_EQ(HeaderCluster::parse(bytes), cluster);
    }
  }
}

}  // namespace
}  // namespace byre::qcow2::layout
