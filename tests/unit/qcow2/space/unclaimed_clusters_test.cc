// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/unclaimed_clusters.h"

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "testing/simulated_disk.h"
#include "unit/qcow2/space/space_parts.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 512;
constexpr uint64_t kClusters = 4096;

// An allocator of a file that cannot grow, with all clusters in use but for those of `holes`.
class UnclaimedClustersTest : public SpaceParts {
 protected:
  UnclaimedClustersTest() : SpaceParts(fixed_disk(), kCluster) {}

  static std::unique_ptr<BlockDevice> fixed_disk() {
    const std::unique_ptr<storage::MemoryDevice> file = new_image(kCluster, kClusters);
    file->put((kClusters - 1) * kCluster, std::vector<uint8_t>(kCluster));
    faults::SimulatedDisk::Options options;
    options.grows = false;
    return std::make_unique<faults::SimulatedDisk>(faults::SimulatedCache(file->contents()),
                                                   options);
  }

  void fill_but(const std::vector<ClusterRange>& holes) {
    for (;;) {
      try {
        loop_.run(allocator_.allocate(1));
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
}  // namespace byre::qcow2::test
