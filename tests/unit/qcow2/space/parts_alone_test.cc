// SPDX-License-Identifier: Apache-2.0
#include "unit/qcow2/space/space_parts.h"

namespace byre::qcow2::test {
namespace {

class PartsAlone : public SpaceParts {
 protected:
  PartsAlone() : SpaceParts(new_image(65536, 64), 4096) {}
};

TEST_F(PartsAlone, WhatIsAllocatedIsCountedAndWhatIsFreedIsGivenAgain) {
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
}  // namespace byre::qcow2::test
