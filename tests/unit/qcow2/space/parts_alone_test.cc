// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "async/loop.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image_parts.h"
#include "storage/memory_device.h"

// Refcounts and the allocator without an image around them: on a context, a cache and an overlap
// check.
namespace byre::qcow2 {
namespace {

constexpr uint64_t kCluster = 65536;

class PartsAlone : public testing::Test {
 protected:
  static std::unique_ptr<BlockDevice> make_file() {
    auto file = std::make_unique<storage::MemoryDevice>();
    CreateOptions options;
    options.size = 64 * kCluster;
    sync_wait(create(*file, nullptr, options));
    return file;
  }
  static LoadedImage load() {
    OpenOptions options;
    options.writable = true;
    return sync_wait(load_image(make_file(), options));
  }

  explicit PartsAlone(LoadedImage loaded = load())
      : context_(std::move(loaded.file), loaded.options, loaded.first_cluster),
        l1_(std::move(loaded.l1)) {}

  Loop loop_;
  Context context_;
  L1Table l1_;
  const std::vector<layout::Snapshot> snapshots_;
  TableCache cache_{&context_.storage, {.name = "refcount block", .slice_size = 4096}};
  OverlapCheck overlap_{&context_, {}, &l1_, &snapshots_};
  Refcounts refcounts_{&context_, &cache_, &overlap_};
  Allocator allocator_{&context_, &cache_, &refcounts_, &overlap_};
};

TEST_F(PartsAlone, WhatIsAllocatedIsCountedAndWhatIsFreedIsGivenAgain) {
  loop_.run(refcounts_.load());
  const HostCluster end = loop_.run(refcounts_.end_of_used());
  const Allocator::Allocation first = loop_.run(allocator_.allocate(3));
  EXPECT_EQ(first.range.first, end);
  EXPECT_EQ(first.range.count, 3u);
  EXPECT_TRUE(first.is_blank);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_EQ(loop_.run(refcounts_.get(end + i)), 1u);
  loop_.run(allocator_.free({end + 1, 1}));
  EXPECT_EQ(loop_.run(refcounts_.get(end + 1)), 0u);
  const Allocator::Allocation again = loop_.run(allocator_.allocate(1));
  EXPECT_EQ(again.range.first, end + 1);
  EXPECT_FALSE(again.is_blank);
  allocator_.check();
  cache_.check();
}

TEST_F(PartsAlone, WhatIsFreedLaterIsGivenToNobodyBefore) {
  loop_.run(refcounts_.load());
  const ClusterRange range = loop_.run(allocator_.allocate_all(2));
  allocator_.defer_free(range);
  EXPECT_EQ(allocator_.deferred_clusters(), 2u);
  EXPECT_NE(loop_.run(allocator_.allocate_all(1)).first, range.first);
  Allocator::DeferredFrees frees = allocator_.take_deferred();
  EXPECT_EQ(allocator_.deferred_clusters(), 0u);
  allocator_.requeue(std::move(frees));
  allocator_.check();
  EXPECT_EQ(loop_.run(refcounts_.get(range.first)), 1u);
  loop_.run(allocator_.release(allocator_.take_deferred()));
  EXPECT_EQ(loop_.run(refcounts_.get(range.first)), 0u);
  EXPECT_EQ(loop_.run(allocator_.allocate_all(2)).first, range.first);
  allocator_.check();
}

}  // namespace
}  // namespace byre::qcow2
