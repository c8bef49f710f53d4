// SPDX-License-Identifier: Apache-2.0
#include "qcow2/write/flusher.h"

#include "async/when_all.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 65536;

// The cost of flushes: each flush of the file is an fdatasync.
class Flushes : public WritingTest {
 protected:
  uint64_t flushes() { return file_count(faults::Operation::kFlush); }
  // The number of flushes of the file that `work` and a flush cause.
  template <class Work>
  uint64_t cost(Work work) {
    const uint64_t before = flushes();
    work();
    flush();
    return flushes() - before;
  }
};

TEST_F(Flushes, OfAWriteInPlaceIsOne) {
  open(layout_of(kMiB, kCluster));
  write(0, pattern(0, kCluster, 1));
  flush();
  EXPECT_EQ(cost([&] { write(4096, pattern(0, 4096, 2)); }), 1u);
  EXPECT_EQ(cost([&] { write(100, pattern(0, 100, 2)); }), 1u);
  close_and_check();
}

TEST_F(Flushes, OfAWriteThatAllocatesAreTwo) {
  for (const bool extended : {false, true}) {
    Layout layout = layout_of(kMiB, kCluster);
    layout.create.extended_l2 = extended;
    open(layout);
    write(0, pattern(0, kCluster, 1));
    flush();
    EXPECT_EQ(cost([&] { write(2 * kCluster, pattern(0, 4096, 2)); }), 2u);
    EXPECT_EQ(cost([&] {
                for (uint64_t i = 3; i < 9; ++i) write(i * kCluster, pattern(0, 4096, 2));
              }),
              2u);
    close_and_check();
  }
}

TEST_F(Flushes, OfTheFirstWriteOfAnL2TableAreThree) {
  open(layout_of(kMiB, kCluster));
  EXPECT_EQ(cost([&] { write(0, pattern(0, 4096, 2)); }), 3u);
  close_and_check();
}

TEST_F(Flushes, OfLazyRefcountsAreNoMoreAndWriteNone) {
  Layout layout = layout_of(kMiB, kCluster);
  layout.create.lazy_refcounts = true;
  open(layout);
  write(0, pattern(0, kCluster, 1));
  flush();
  opened_.file->clear_events();
  EXPECT_EQ(cost([&] { write(2 * kCluster, pattern(0, kCluster, 2)); }), 2u);
  uint64_t writes = 0;
  for (const faults::FaultEvent& event : opened_.file->events()) {
    if (event.operation == faults::Operation::kWrite) ++writes;
  }
  EXPECT_EQ(writes, 2u);  // data, L2 entry
  close_and_check();
}

TEST_F(Flushes, ThatArriveTogetherShareOne) {
  open(layout_of(kMiB, kCluster));
  write(0, pattern(0, kCluster, 1));
  flush();
  write(0, pattern(0, 4096, 2));
  const uint64_t before = flushes();
  opened_.file->set_delays(1, 5);
  std::vector<Task<void>> together;
  for (int i = 0; i < 20; ++i) together.push_back(image().flush());
  loop_.run(when_all(std::move(together)));
  // The first is in flight when the others arrive; they share the next one.
  EXPECT_LE(flushes() - before, 2u);
  close_and_check();
}

// A table that an eviction is still writing is not on disk yet, although nothing is dirty any more.
TEST_F(Flushes, WaitForTablesThatAreBeingWritten) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Layout layout = layout_of(4 * kMiB, 512);
    OpenOptions options = for_writing();
    options.cache.l2_cache_size = 512;
    open(layout, options);
    opened_.file->set_delays(seed, 5);
    std::vector<Task<void>> writes;
    std::vector<uint8_t> bytes = pattern(0, 512, seed);
    for (uint64_t i = 0; i < 12; ++i) {
      writes.push_back(image().write(i * 40960, ConstBytes(bytes), WriteFlags::kFua));
    }
    loop_.run(when_all(std::move(writes)));
    opened_.file->heal();
    const std::vector<uint8_t> now = sync_wait(read_disks(opened_.snapshot(), {}));
    for (uint64_t i = 0; i < 12; ++i) {
      const auto from = now.begin() + static_cast<ptrdiff_t>(i * 40960);
      ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), from)) << seed;
    }
    close_and_check();
  }
}

}  // namespace
}  // namespace byre::qcow2::test
