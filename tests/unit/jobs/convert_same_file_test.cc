// SPDX-License-Identifier: Apache-2.0
// The same source and options give the same image, byte for byte, whatever is ready first and
// however many requests are in flight.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "async/loop.h"
#include "filter/borrowed_device.h"
#include "jobs/convert.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::jobs {
namespace {

using storage::MemoryDevice;

constexpr uint64_t kSize = 3 << 20;

// Clusters that compress well, badly and not at all, zeroes and holes, at unaligned offsets.
std::vector<uint8_t> mixed_contents() {
  std::vector<uint8_t> bytes(kSize, 0);
  for (uint64_t at = 3 << 9, kind = 0; at < kSize; ++kind) {
    const uint64_t length = std::min<uint64_t>(kSize - at, 40960 + kind % 7 * 30720);
    const auto place = bytes.begin() + static_cast<ptrdiff_t>(at);
    if (kind % 4 == 0) std::ranges::copy(test::pattern(at, length, kind), place);
    if (kind % 4 == 1) std::fill_n(place, length, static_cast<uint8_t>(kind));
    for (uint64_t i = 0; kind % 4 == 2 && i < length; ++i) {
      place[static_cast<ptrdiff_t>(i)] = static_cast<uint8_t>((at + i) >> (kind % 5 + 2));
    }
    at += length;
  }
  return bytes;
}

struct Way {
  ConvertOptions job;
  qcow2::CreateOptions create;
  bool is_over_another = false;  // the target had other contents before
};

Task<void> fill(BlockDevice* image) {
  for (uint64_t at = 0; at < kSize; at += 1 << 20) {
    const std::vector<uint8_t> bytes = test::pattern(at, 70000, 9);
    const WriteBuffers from((ConstBytes(bytes)));
    co_await image->write(at, from);
  }
}

Task<void> make_image(const std::vector<uint8_t>* contents, const Way* way, MemoryDevice* file,
                      uint64_t seed) {
  qcow2::CreateOptions create = way->create;
  create.size = kSize;
  co_await qcow2::create(*file, nullptr, create);
  std::unique_ptr<BlockDevice> borrowed = std::make_unique<filter::BorrowedDevice>(*file);
  auto slow_file = std::make_unique<faults::FaultDevice>(std::move(borrowed));
  faults::FaultDevice* const delays = slow_file.get();
  qcow2::OpenOptions options;
  options.writable = true;
  const std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(slow_file), options);
  if (way->is_over_another) co_await fill(image.get());
  delays->set_delays(seed, 9);
  auto memory = std::make_unique<MemoryDevice>(ConstBytes(*contents));
  faults::FaultDevice source(std::move(memory));
  source.set_delays(seed + 1, 20);
  std::vector<BlockDevice*> sources{&source};
  co_await convert(sources, *image, way->job, nullptr, nullptr);
  co_await image->close();
}

void expect_the_same_each_time(Way way) {
  const std::vector<uint8_t> contents = mixed_contents();
  std::vector<uint8_t> first;
  for (uint64_t seed = 0; seed < 5; ++seed) {
    way.job.in_flight = seed == 0 ? 1 : static_cast<unsigned>(seed * 4);
    MemoryDevice file;
    Loop loop({.seed = seed});
    loop.run(make_image(&contents, &way, &file, seed));
    const std::vector<uint8_t> bytes = file.get(0, file.size());
    if (seed == 0) first = bytes;
    ASSERT_EQ(bytes.size(), first.size()) << seed;
    EXPECT_TRUE(bytes == first) << seed;
  }
}

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const uint64_t cluster_size : {512, 4096, 65536, 2 << 20}) {
    for (const bool extended : {false, true}) {
      if (extended && cluster_size < 65536) continue;
      for (const bool is_over_another : {false, true}) {
        Way way;
        way.create.cluster_size = cluster_size;
        way.create.extended_l2 = extended;
        way.is_over_another = is_over_another;
        way.job.target_is_zero = !is_over_another;
        ways.push_back(way);
      }
    }
  }
  return ways;
}

TEST(ConvertSameFile, CompressedClustersHaveThePlacesOfTheirOrder) {
  for (Way way : all_ways()) {
    if (way.create.cluster_size == 512) continue;
    way.job.compressed = true;
    for (const auto type : {CompressionType::kZlib, CompressionType::kZstd}) {
      if (!codec::is_supported(type)) continue;
      way.create.compression_type = type;
      SCOPED_TRACE(std::to_string(way.create.cluster_size) + (way.is_over_another ? " over" : ""));
      expect_the_same_each_time(way);
    }
  }
}

TEST(ConvertSameFile, CompressedClustersHaveTheSamePlacesWhenTheRateIsLimited) {
  Way way;
  way.job.compressed = true;
  way.job.target_is_zero = true;
  way.job.bytes_per_second = 1 << 20;
  expect_the_same_each_time(way);
}

TEST(ConvertSameFile, PlainClustersHaveTheSamePlacesWhereWritesWaitForOneAnother) {
  for (Way way : all_ways()) {
    way.job.write_order = WriteOrder::kOneByOne;
    SCOPED_TRACE(std::to_string(way.create.cluster_size) + (way.is_over_another ? " over" : ""));
    expect_the_same_each_time(way);
  }
}

}  // namespace
}  // namespace byre::jobs
