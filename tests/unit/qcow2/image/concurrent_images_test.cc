// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "async/loop.h"
#include "async/ring.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image_check.h"
#include "storage/file_device.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

// Several images, each on a loop in a separate thread, with many requests in flight, on real files:
// they share the worker threads and the kernel's side of io_uring. Meant for the thread sanitizer.
namespace byre::qcow2::test {
namespace {

using byre::test::pattern;
using storage::FileDevice;

constexpr int kThreads = 3;
constexpr uint64_t kLanes = 8;
constexpr int kRequests = 60;
constexpr uint64_t kClusterSize = 16384;
constexpr uint64_t kClusters = 48;
// After the clusters that the lanes share.
constexpr uint64_t kCompressedBegin = kClusters * kClusterSize;
constexpr uint64_t kCompressedClusters = 16;
constexpr uint64_t kDiskSize = kCompressedBegin + kCompressedClusters * kClusterSize;

struct Way {
  const char* name;
  storage::IoBackend io;
  storage::CacheMode cache;
  bool extended_l2 = false;
};

// Every lane owns a part of each cluster, so that lanes share clusters but no bytes.
constexpr uint64_t kSlice = kClusterSize / kLanes;

Task<void> lane(Image* image, std::vector<uint8_t>* disk, uint64_t index, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> memory(kSlice);
  for (int i = 0; i < kRequests; ++i) {
    const uint64_t offset = random() % kClusters * kClusterSize + index * kSlice;
    const uint64_t length = 1 + random() % kSlice;
    const ReadBuffers whole(Bytes(memory).first(length));
    const uint64_t kind = random() % 10;
    if (kind < 5) {
      const std::vector<uint8_t> bytes = pattern(offset, length, seed + i);
      const WriteBuffers from((ConstBytes(bytes)));
      co_await image->write(offset, from);
      std::ranges::copy(bytes, disk->begin() + static_cast<ptrdiff_t>(offset));
    } else if (kind < 7) {
      const WriteFlags flags = kind == 5 ? WriteFlags::kNone : WriteFlags::kMayUnmap;
      co_await image->write_zeroes(offset, length, flags);
      std::fill_n(disk->begin() + static_cast<ptrdiff_t>(offset), length, uint8_t{0});
    } else if (kind < 9) {
      co_await image->read(offset, whole);
      EXPECT_TRUE(std::equal(memory.begin(), memory.begin() + static_cast<ptrdiff_t>(length),
                             disk->begin() + static_cast<ptrdiff_t>(offset)));
    } else {
      co_await image->flush();
    }
  }
}

// Data is compressed on the worker threads, and read back through them.
Task<void> compressed_lane(Image* image, std::vector<uint8_t>* disk, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<uint8_t> memory(4 * kClusterSize);
  for (int i = 0; i < kRequests / 4; ++i) {
    const uint64_t first = random() % (kCompressedClusters - 3);
    const uint64_t offset = kCompressedBegin + first * kClusterSize;
    std::vector<uint8_t> bytes = pattern(offset, memory.size(), seed + i);
    for (size_t at = 0; at < bytes.size(); ++at) {
      if (at % 8 < 6) bytes[at] = static_cast<uint8_t>(i);
    }
    const WriteBuffers from((ConstBytes(bytes)));
    co_await image->write(offset, from, WriteFlags::kCompressed);
    std::ranges::copy(bytes, disk->begin() + static_cast<ptrdiff_t>(offset));
    const ReadBuffers to((Bytes(memory)));
    co_await image->read(offset, to);
    EXPECT_EQ(memory, bytes);
  }
}

Task<void> work_on_image(std::string filename, Way way, uint64_t seed) {
  storage::FileOptions file_options{
      .writable = true, .cache = way.cache, .io = way.io, .create = true};
  std::unique_ptr<FileDevice> file = co_await FileDevice::open(filename, file_options);
  CreateOptions create_options;
  create_options.size = kDiskSize;
  create_options.cluster_size = kClusterSize;
  create_options.extended_l2 = way.extended_l2;
  co_await create(*file, nullptr, std::move(create_options));
  OpenOptions open_options;
  open_options.writable = true;
  std::unique_ptr<Image> image = co_await Image::open(std::move(file), std::move(open_options));
  std::vector<uint8_t> disk(kDiskSize);
  std::vector<Task<void>> lanes;
  for (uint64_t i = 0; i < kLanes; ++i) {
    lanes.push_back(lane(image.get(), &disk, i, seed * 100 + i));
  }
  lanes.push_back(compressed_lane(image.get(), &disk, seed));
  co_await when_all(std::move(lanes));
  std::vector<uint8_t> found(kDiskSize);
  const ReadBuffers to((Bytes(found)));
  co_await image->read(0, to);
  EXPECT_EQ(found, disk);
  co_await image->close();
}

Task<CheckResult> check_file(std::string filename) {
  const storage::FileOptions file_options;
  std::unique_ptr<FileDevice> file = co_await FileDevice::open(filename, file_options);
  OpenOptions options;
  options.for_check = true;
  std::unique_ptr<Image> image = co_await Image::open(std::move(file), std::move(options));
  const CheckOptions check_options;
  const CheckResult result = co_await check(*image, check_options);
  co_await image->close();
  co_return result;
}

// Why the host cannot work in this way: it refuses io_uring, or its file system has no O_DIRECT.
std::string host_refusal(const byre::test::TemporaryFolder& folder, const Way& way) {
  folder.make("probe", std::vector<uint8_t>(4096));
  storage::FileOptions options;
  options.cache = way.cache;
  options.io = way.io;
  try {
    sync_wait(FileDevice::open(folder.file("probe"), options));
  } catch (const Error& error) {
    const bool no_direct = error.errno_value() == EINVAL && is_direct(way.cache);
    const bool no_ring = Ring::refusal() != 0 && way.io == storage::IoBackend::kUring;
    if (!no_direct && !no_ring) throw;
    return error.message();
  }
  return "";
}

class ConcurrentImages : public testing::TestWithParam<Way> {};

TEST_P(ConcurrentImages, OnSeparateLoopsAndThreadsDoNotInterfere) {
  const byre::test::TemporaryFolder folder;
  const std::string refusal = host_refusal(folder, GetParam());
  if (!refusal.empty()) GTEST_SKIP() << refusal;
  std::vector<std::string> problems(kThreads);
  {
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&folder, &problems, i] {
        try {
          const std::string filename = folder.file("disk" + std::to_string(i));
          sync_wait(work_on_image(filename, GetParam(), static_cast<uint64_t>(i) + 1));
        } catch (const std::exception& error) {
          problems[static_cast<size_t>(i)] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const std::string& problem : problems) EXPECT_EQ(problem, "");
  for (int i = 0; i < kThreads; ++i) {
    const CheckResult result = sync_wait(check_file(folder.file("disk" + std::to_string(i))));
    EXPECT_EQ(result.corruptions, 0u);
    EXPECT_EQ(result.leaks, 0u);
    EXPECT_EQ(result.check_errors, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ways, ConcurrentImages,
    testing::Values(Way{"Threads", storage::IoBackend::kThreads, storage::CacheMode::kWriteback},
                    Way{"Uring", storage::IoBackend::kUring, storage::CacheMode::kWriteback},
                    Way{"UringDirect", storage::IoBackend::kUring, storage::CacheMode::kNone},
                    Way{"ThreadsDirect", storage::IoBackend::kThreads, storage::CacheMode::kNone},
                    Way{"ExtendedL2", storage::IoBackend::kAuto, storage::CacheMode::kNone, true}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace byre::qcow2::test
