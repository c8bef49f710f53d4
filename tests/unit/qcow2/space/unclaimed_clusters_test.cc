// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/unclaimed_clusters.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "async/loop.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image_parts.h"
#include "storage/memory_device.h"
#include "testing/simulated_disk.h"

namespace byre::qcow2 {
namespace {

constexpr uint64_t kCluster = 512;
constexpr uint64_t kClusters = 4096;

// An allocator of a file that cannot grow, with all clusters in use but for those of `holes`.
class UnclaimedClustersTest : public testing::Test {
 protected:
  static LoadedImage load() {
    storage::MemoryDevice file;
    CreateOptions options;
    options.size = kClusters * kCluster;
    options.cluster_size = kCluster;
    sync_wait(create(file, nullptr, options));
    file.put((kClusters - 1) * kCluster, std::vector<uint8_t>(kCluster));
    OpenOptions open_options;
    open_options.writable = true;
    Loop loop;
    return loop.run(load_image(
        std::make_unique<faults::SimulatedDisk>(faults::SimulatedCache(file.contents()),
                                                faults::SimulatedDisk::Options{.grows = false}),
        open_options));
  }

  explicit UnclaimedClustersTest(LoadedImage loaded = load())
      : context_(std::move(loaded.file), loaded.options, loaded.first_cluster),
        l1_(std::move(loaded.l1)) {
    loop_.run(refcounts_.load());
  }

  void fill_but(const std::vector<ClusterRange>& holes) {
    std::vector<ClusterRange> allocated;
    for (;;) {
      try {
        allocated.push_back(loop_.run(allocator_.allocate(1)).range);
      } catch (const Error&) {
        break;
      }
    }
    for (const ClusterRange& hole : holes) loop_.run(allocator_.free(hole));
    lock_.emplace(loop_.run(allocator_.lock_for_update()));
  }
  // All clusters that can be had one after another, in requests of `count`.
  std::multiset<uint64_t> take_all(uint64_t count) {
    std::multiset<uint64_t> found;
    for (;;) {
      try {
        const ClusterRange range = loop_.run(free_.take(count));
        EXPECT_EQ(range.count, count);
        for (uint64_t i = 0; i < count; ++i) found.insert((range.first + i).value());
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
        return found;
      }
    }
  }
  static std::multiset<uint64_t> clusters_of(const std::vector<ClusterRange>& ranges) {
    std::multiset<uint64_t> found;
    for (const ClusterRange& range : ranges) {
      for (uint64_t i = 0; i < range.count; ++i) found.insert((range.first + i).value());
    }
    return found;
  }

  Loop loop_;
  Context context_;
  L1Table l1_;
  const std::vector<layout::Snapshot> snapshots_;
  TableCache cache_{&context_.storage, {.name = "refcount block", .slice_size = 512}};
  OverlapCheck overlap_{&context_, {}, &l1_, &snapshots_};
  Refcounts refcounts_{&context_, &cache_, &overlap_};
  Allocator allocator_{&context_, &cache_, &refcounts_, &overlap_};
  UnclaimedClusters free_{&allocator_};
  std::optional<Mutex::Guard> lock_;
};

TEST_F(UnclaimedClustersTest, SmallHolesBelowALargeOneAreFoundAfterwards) {
  const std::vector<ClusterRange> holes{
      {HostCluster(1000), 1}, {HostCluster(1100), 2}, {HostCluster(3000), 8}};
  fill_but(holes);
  const ClusterRange run = loop_.run(free_.take(5));
  EXPECT_EQ(run.first, HostCluster(3000));
  std::multiset<uint64_t> found = take_all(1);
  found.merge(clusters_of({run}));
  EXPECT_EQ(found, clusters_of(holes));
}

TEST_F(UnclaimedClustersTest, RunsDoNotOverlapWhatWasTaken) {
  const std::vector<ClusterRange> holes{{HostCluster(1000), 3}, {HostCluster(3000), 8}};
  fill_but(holes);
  EXPECT_EQ(loop_.run(free_.take(1)).first, HostCluster(1000));
  EXPECT_EQ(loop_.run(free_.take(4)).first, HostCluster(3000));
  EXPECT_EQ(loop_.run(free_.take(2)).first, HostCluster(1001));
  EXPECT_EQ(loop_.run(free_.take(2)).first, HostCluster(3004));
  EXPECT_EQ(take_all(1), (std::multiset<uint64_t>{3006, 3007}));
}

}  // namespace
}  // namespace byre::qcow2
