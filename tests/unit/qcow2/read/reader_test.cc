// SPDX-License-Identifier: Apache-2.0
#include "qcow2/read/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "qcow2/image/image_parts.h"
#include "testing/fault_device.h"
#include "unit/qcow2/image_builder.h"

namespace byre::qcow2 {
namespace {

using faults::FaultDevice;
using faults::Operation;
using storage::MemoryDevice;
using test::compressible;
using test::ImageBuilder;
using test::pattern;
using Contents = std::vector<uint8_t>;

constexpr uint64_t kCluster = 65536;

// An image on a file that counts its requests and can make them fail.
struct Counted {
  explicit Counted(ImageBuilder& builder) {
    auto fault = std::make_unique<FaultDevice>(builder.finish());
    file = fault.get();
    auto owned = sync_wait(ImageParts::open(std::move(fault), {}));
    parts = owned.get();
    image = std::make_unique<Image>(std::move(owned));
  }
  FaultDevice* file;
  ImageParts* parts;
  std::unique_ptr<Image> image;
};

Contents slice(const Contents& bytes, size_t offset, size_t length) {
  return {bytes.begin() + static_cast<ptrdiff_t>(offset),
          bytes.begin() + static_cast<ptrdiff_t>(offset + length)};
}

TEST(Reader, ReadsAnyRangeOfAMixedImage) {
  ImageBuilder builder({.size = 10 * kCluster});
  Contents guest(10 * kCluster);
  const auto expect = [&](uint64_t cluster, const Contents& bytes) {
    std::ranges::copy(bytes, guest.begin() + static_cast<ptrdiff_t>(cluster * kCluster));
  };
  const auto data = [&](uint64_t cluster) {
    builder.put_data(cluster, 1);
    expect(cluster, pattern(cluster * kCluster, kCluster, 1));
  };
  const auto compressed = [&](uint64_t cluster) {
    builder.put_compressed(cluster, compressible(kCluster, cluster));
    expect(cluster, compressible(kCluster, cluster));
  };
  data(0);
  compressed(2);
  compressed(3);
  data(4);
  builder.set_l2(5, layout::L2Entry::zero_plain(builder.geometry()));
  compressed(6);
  builder.set_l2(8,
                 layout::L2Entry::zero_allocated(builder.put_data(8, 5), true, builder.geometry()));
  data(9);
  const auto image = builder.open();
  EXPECT_EQ(test::read(*image, 0, 10 * kCluster), guest);
  for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, kCluster - 1, 2 * kCluster + 511,
                                3 * kCluster, 4 * kCluster - 4096, 7 * kCluster + 13}) {
    for (const uint64_t length : {uint64_t{1}, uint64_t{512}, kCluster, 2 * kCluster + 3}) {
      EXPECT_EQ(test::read(*image, offset, length), slice(guest, offset, length))
          << offset << "+" << length;
    }
  }
}

TEST(Reader, ReadsIntoScatteredMemory) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.put_compressed(1, compressible(kCluster, 2));
  const auto image = builder.open();
  Contents first(100), second(2 * kCluster - 100);
  ReadBuffers to(Bytes{first});
  to.append(ReadBuffers(Bytes{second}));
  sync_wait(image->read(0, to));
  Contents all = first;
  all.insert(all.end(), second.begin(), second.end());
  EXPECT_EQ(slice(all, 0, kCluster), pattern(0, kCluster, 1));
  EXPECT_EQ(slice(all, kCluster, kCluster), compressible(kCluster, 2));
}

TEST(Reader, AContiguousRunIsOneStorageReadAcrossSlices) {
  ImageBuilder builder({.size = uint64_t{1} << 30});
  const uint64_t first = 2040;  // the first slice ends with entry 2047
  const HostOffset host = builder.take_clusters(16);
  for (uint64_t i = 0; i < 16; ++i) builder.put_data_at(first + i, host + i * kCluster, 1);
  Counted counted(builder);
  test::read(*counted.image, first * kCluster, 1);
  test::read(*counted.image, (first + 15) * kCluster, 1);
  const uint64_t before = counted.file->count(Operation::kRead);
  EXPECT_EQ(test::read(*counted.image, first * kCluster + 5, 16 * kCluster - 9),
            pattern(first * kCluster + 5, 16 * kCluster - 9, 1));
  EXPECT_EQ(counted.file->count(Operation::kRead), before + 1);
}

TEST(Reader, ReadsManyRunsOfOneRequest) {
  // More runs than may be in flight at once: every second cluster is data.
  ImageBuilder builder({.size = 400 * 512, .cluster_bits = 9});
  for (uint64_t cluster = 0; cluster < 400; cluster += 2) builder.put_data(cluster, 3);
  const auto image = builder.open();
  const Contents bytes = test::read(*image, 0, 400 * 512);
  for (uint64_t cluster = 0; cluster < 400; ++cluster) {
    const Contents want = cluster % 2 == 0 ? pattern(cluster * 512, 512, 3) : Contents(512);
    ASSERT_EQ(slice(bytes, cluster * 512, 512), want) << cluster;
  }
}

TEST(Reader, AClusterCutByTheEndOfTheFileReadsAsZeroesThere) {
  ImageBuilder builder;
  builder.l2_table(0);
  const HostOffset host = builder.put_data(0, 1);
  builder.set_l2(1,
                 layout::L2Entry::normal(HostOffset(uint64_t{1} << 50), true, builder.geometry()));
  sync_wait(builder.file().resize(host.value() + 1000, Preallocation::kOff));
  const auto image = builder.open();
  Contents want = pattern(0, 1000, 1);
  want.resize(2 * kCluster);
  EXPECT_EQ(test::read(*image, 0, 2 * kCluster), want);
}

TEST(Reader, UnallocatedBytesComeFromTheBackingFileAndPastItsEndAreZeroes) {
  ImageBuilder builder({.backing_filename = "base"});
  builder.put_data(1, 1);
  const auto image = builder.open();
  const uint64_t backing_size = 2 * kCluster + 777;
  image->set_backing(std::make_unique<MemoryDevice>(ConstBytes(pattern(0, backing_size, 9))));
  Contents want = pattern(0, kCluster, 9);
  const Contents own = pattern(kCluster, kCluster, 1);
  want.insert(want.end(), own.begin(), own.end());
  const Contents tail = pattern(2 * kCluster, 777, 9);
  want.insert(want.end(), tail.begin(), tail.end());
  want.resize(4 * kCluster);
  EXPECT_EQ(test::read(*image, 0, 4 * kCluster), want);
  EXPECT_EQ(test::read(*image, 2 * kCluster + 770, 100), slice(want, 2 * kCluster + 770, 100));
}

TEST(Reader, SubclustersMixDataZeroesAndBacking) {
  ImageBuilder builder({.extended_l2 = true, .backing_filename = "base"});
  const HostOffset host = builder.put_data(0, 1);
  // Alternating: data, zero, backing file.
  uint64_t allocated = 0;
  uint64_t zero = 0;
  for (int i = 0; i < 32; ++i) {
    if (i % 3 == 0) allocated |= uint64_t{1} << i;
    if (i % 3 == 1) zero |= uint64_t{1} << i;
  }
  builder.set_l2(0,
                 layout::L2Entry(host.value() | layout::L2Entry::kCopied, allocated | zero << 32));
  const auto image = builder.open();
  image->set_backing(std::make_unique<MemoryDevice>(ConstBytes(pattern(0, kCluster, 9))));
  const Contents bytes = test::read(*image, 0, kCluster);
  const uint64_t size = kCluster / 32;
  for (uint64_t i = 0; i < 32; ++i) {
    const Contents want = i % 3 == 0   ? pattern(i * size, size, 1)
                          : i % 3 == 1 ? Contents(size)
                                       : pattern(i * size, size, 9);
    ASSERT_EQ(slice(bytes, i * size, size), want) << i;
  }
}

TEST(Reader, DataComesFromTheExternalDataFile) {
  ImageBuilder builder({.external_data_file = true});
  builder.set_l2(0, layout::L2Entry(layout::L2Entry::kCopied));
  builder.set_l2(2, layout::L2Entry(2 * kCluster | layout::L2Entry::kCopied));
  const auto image = builder.open();
  image->set_data_file(std::make_unique<MemoryDevice>(ConstBytes(pattern(0, 3 * kCluster, 4))));
  EXPECT_TRUE(image->has_external_data_file());
  EXPECT_EQ(test::read(*image, 0, kCluster), pattern(0, kCluster, 4));
  EXPECT_EQ(test::read(*image, kCluster, kCluster), Contents(kCluster));
  EXPECT_EQ(test::read(*image, 2 * kCluster, kCluster), pattern(2 * kCluster, kCluster, 4));
}

TEST(Reader, AdjoiningCompressedClustersAreOneStorageRead) {
  ImageBuilder builder;
  for (uint64_t cluster = 0; cluster < 8; ++cluster) {
    builder.put_compressed(cluster, compressible(kCluster, cluster));
  }
  Counted counted(builder);
  test::read(*counted.image, 9 * kCluster, 1);  // the L2 slice
  const uint64_t before = counted.file->count(Operation::kRead);
  const Contents bytes = test::read(*counted.image, 0, 8 * kCluster);
  EXPECT_EQ(counted.file->count(Operation::kRead), before + 1);
  for (uint64_t cluster = 0; cluster < 8; ++cluster) {
    ASSERT_EQ(slice(bytes, cluster * kCluster, kCluster), compressible(kCluster, cluster));
  }
}

TEST(Reader, SmallSequentialReadsDecompressAClusterOnce) {
  ImageBuilder builder({.compression = CompressionType::kZstd});
  const Contents want = compressible(kCluster, 5);
  builder.put_compressed(0, want);
  Counted counted(builder);
  test::read(*counted.image, 9 * kCluster, 1);
  const uint64_t before = counted.file->count(Operation::kRead);
  for (uint64_t offset = 0; offset < kCluster; offset += 4096) {
    ASSERT_EQ(test::read(*counted.image, offset, 4096), slice(want, offset, 4096));
  }
  EXPECT_EQ(counted.file->count(Operation::kRead), before + 1);
  counted.parts->reader.drop_compressed(HostOffset(0), uint64_t{1} << 40);
  test::read(*counted.image, 0, 1);
  EXPECT_EQ(counted.file->count(Operation::kRead), before + 2);
}

TEST(Reader, TheLastClusterMayBeCutByTheEndOfTheDisk) {
  ImageBuilder builder({.size = kCluster + 512});
  builder.put_compressed(1, compressible(kCluster, 5));
  const auto image = builder.open();
  EXPECT_EQ(test::read(*image, kCluster, 512), slice(compressible(kCluster, 5), 0, 512));
}

TEST(Reader, DamagedCompressedDataIsAnErrorThatNamesFileAndOffset) {
  for (const uint64_t length : {kCluster, uint64_t{10}}) {
    ImageBuilder builder;
    const HostOffset host = builder.put_compressed(3, compressible(kCluster, 1));
    builder.file().put(host.value(), Contents(64, 0xff));
    const auto image = builder.open();
    try {
      test::read(*image, 3 * kCluster, length);
      FAIL() << "nothing was refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kCorrupt);
      EXPECT_EQ(error.errno_value(), EIO);
      EXPECT_THAT(error.message(), testing::HasSubstr("'test.qcow2'"));
      EXPECT_THAT(error.message(), testing::HasSubstr("guest offset 0x30000"));
    }
  }
}

TEST(Reader, AFailedStorageReadIsReported) {
  ImageBuilder builder;
  builder.put_data(0, 1);
  builder.put_compressed(1, compressible(kCluster, 1));
  Counted counted(builder);
  test::read(*counted.image, 9 * kCluster, 1);
  for (const uint64_t offset : {uint64_t{0}, kCluster, kCluster + 1}) {
    counted.file->add_rule({.operation = Operation::kRead});
    EXPECT_THROW(test::read(*counted.image, offset, 100), Error);
    counted.file->heal();
  }
  EXPECT_EQ(test::read(*counted.image, kCluster + 1, 100),
            slice(compressible(kCluster, 1), 1, 100));
}

Task<void> read_at(Image* image, uint64_t offset, Contents* to) {
  const ReadBuffers vector{Bytes(*to)};
  co_await image->read(offset, vector);
}

Task<void> read_everywhere(Image* image, std::vector<Contents>* parts) {
  std::vector<Task<void>> reads;
  for (size_t i = 0; i < parts->size(); ++i)
    reads.push_back(read_at(image, i * 1000, &(*parts)[i]));
  co_await when_all(std::move(reads));
}

TEST(Reader, ManyRequestsAtOnceGiveTheSameBytes) {
  ImageBuilder builder;
  for (uint64_t cluster = 0; cluster < 4; ++cluster) {
    builder.put_compressed(cluster, compressible(kCluster, cluster));
  }
  for (uint64_t cluster = 4; cluster < 8; ++cluster) builder.put_data(cluster, 1);
  Counted counted(builder);
  const Contents whole = test::read(*counted.image, 0, 8 * kCluster);
  counted.file->set_delays(1, 5);
  std::vector<Contents> parts(400, Contents(3000));
  sync_wait(read_everywhere(counted.image.get(), &parts));
  for (size_t i = 0; i < parts.size(); ++i) ASSERT_EQ(parts[i], slice(whole, i * 1000, 3000)) << i;
}

TEST(Reader, ReadsOutsideTheDiskAreRefused) {
  const auto image = ImageBuilder().open();
  EXPECT_THROW(test::read(*image, image->size(), 1), Error);
  EXPECT_THROW(test::read(*image, UINT64_MAX, 2), Error);
  EXPECT_EQ(test::read(*image, image->size(), 0), Contents());
}

}  // namespace
}  // namespace byre::qcow2
