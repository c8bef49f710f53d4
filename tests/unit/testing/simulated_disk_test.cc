// SPDX-License-Identifier: Apache-2.0
#include "testing/simulated_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "unit/support/pattern.h"

namespace byre::faults {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

Loop::Options seeded(uint64_t seed) {
  Loop::Options options;
  options.seed = seed;
  return options;
}

Contents get(const storage::SparseBytes& bytes, uint64_t offset, size_t length) {
  Contents result(length);
  bytes.read(offset, result);
  return result;
}

Contents sectors(size_t count, uint64_t seed) {
  return pattern(0, count * kSectorSize, seed);
}

// A disk with its own loop.
struct Bench {
  explicit Bench(uint64_t size = 0, SimulatedDisk::Options options = {})
      : loop(seeded(options.seed)), disk(SimulatedCache(storage::SparseBytes(size)), options) {}
  void write(uint64_t offset, const Contents& bytes, WriteFlags flags = WriteFlags::kNone) {
    loop.run(disk.write(offset, ConstBytes(bytes), flags));
  }
  void flush() { loop.run(disk.flush()); }
  storage::SparseBytes cut(uint64_t seed) const { return disk.cache().power_cut(seed); }

  Loop loop;
  SimulatedDisk disk;
};

TEST(SimulatedDisk, ReadsSeeWhatWasWritten) {
  Bench bench;
  const Contents bytes = pattern(100, 3000, 1);
  bench.write(100, bytes);
  bench.loop.run(bench.disk.write_zeroes(200, 50, WriteFlags::kNone));
  Contents expected = bytes;
  std::fill_n(expected.begin() + 100, 50, uint8_t{0});
  Contents found(3000);
  bench.loop.run(bench.disk.read(100, Bytes(found)));
  EXPECT_EQ(found, expected);
}

TEST(SimulatedDisk, APowerCutKeepsAnySubsetOfWhatWasNotFlushedAndAllThatWas) {
  Bench bench;
  const Contents flushed = sectors(4, 1);
  const Contents later = sectors(4, 2);
  bench.write(0, flushed);
  bench.flush();
  bench.write(0, later);
  std::set<uint32_t> subsets;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    const Contents left = get(bench.cut(seed), 0, flushed.size());
    uint32_t kept = 0;
    for (size_t i = 0; i < 4; ++i) {
      const auto at = static_cast<ptrdiff_t>(i * kSectorSize);
      const Contents sector(left.begin() + at, left.begin() + at + kSectorSize);
      const Contents before(flushed.begin() + at, flushed.begin() + at + kSectorSize);
      const Contents after(later.begin() + at, later.begin() + at + kSectorSize);
      ASSERT_TRUE(sector == before || sector == after);
      if (sector == after) kept |= 1u << i;
    }
    subsets.insert(kept);
  }
  EXPECT_EQ(subsets.size(), 16u);
}

TEST(SimulatedDisk, APowerCutMayLeaveAnOlderVersionOfASector) {
  Bench bench;
  for (uint64_t version = 1; version <= 3; ++version) bench.write(0, sectors(1, version));
  std::set<Contents> left;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    storage::SparseBytes cut = bench.cut(seed);
    cut.resize(kSectorSize);
    left.insert(get(cut, 0, kSectorSize));
  }
  EXPECT_EQ(left, (std::set<Contents>{Contents(kSectorSize), sectors(1, 1), sectors(1, 2),
                                      sectors(1, 3)}));
}

TEST(SimulatedDisk, TheSameSeedCutsThePowerTheSameWay) {
  Bench bench;
  bench.write(0, sectors(64, 1));
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const storage::SparseBytes one = bench.cut(seed);
    const storage::SparseBytes other = bench.cut(seed);
    ASSERT_EQ(one.size(), other.size());
    EXPECT_EQ(get(one, 0, one.size()), get(other, 0, other.size()));
  }
}

TEST(SimulatedDisk, AFlushDoesNotCoverWhatIsWrittenAfterItWasCalled) {
  // In some of the orders that many seeds give, the write ends between the flush's begin and its
  // end.
  int lost = 0;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimulatedDisk::Options options;
    options.seed = seed;
    Bench bench(kSectorSize, options);
    const Contents bytes = sectors(1, seed);
    bool is_flushed = false;
    bench.disk.set_on_moment([&](SimulatedDisk::Moment moment, uint64_t) {
      is_flushed |= moment == SimulatedDisk::Moment::kFlushEnd;
    });
    std::vector<Task<void>> tasks;
    tasks.push_back(bench.disk.flush());
    tasks.push_back(bench.disk.write(0, ConstBytes(bytes)));
    bench.loop.run(when_all(std::move(tasks)));
    ASSERT_TRUE(is_flushed);
    for (uint64_t cut = 0; cut < 20; ++cut) {
      if (get(bench.cut(cut), 0, kSectorSize) != bytes) {
        ++lost;
        break;
      }
    }
    bench.flush();
    EXPECT_EQ(get(bench.cut(1), 0, kSectorSize), bytes);
  }
  EXPECT_EQ(lost, 60);
}

TEST(SimulatedDisk, RequestsOvertakeOneAnother) {
  std::set<Contents> results;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SimulatedDisk::Options options;
    options.seed = seed;
    Bench bench(0, options);
    const Contents one = sectors(1, 1);
    const Contents other = sectors(1, 2);
    std::vector<Task<void>> tasks;
    tasks.push_back(bench.disk.write(0, ConstBytes(one)));
    tasks.push_back(bench.disk.write(0, ConstBytes(other)));
    bench.loop.run(when_all(std::move(tasks)));
    results.insert(get(bench.disk.cache().now(), 0, kSectorSize));
  }
  EXPECT_EQ(results.size(), 2u);
}

TEST(SimulatedDisk, AWriteWithFuaIsDurableWhenItIsDone) {
  Bench bench;
  const Contents bytes = sectors(3, 1);
  bench.write(0, bytes, WriteFlags::kFua);
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(get(bench.cut(seed), 0, bytes.size()), bytes);
  }
}

TEST(SimulatedDisk, AFailedWriteMayHaveWrittenAnyOfItsSectors) {
  std::set<uint64_t> written;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimulatedDisk::Options options;
    options.seed = seed;
    Bench bench(8 * kSectorSize, options);
    bench.disk.set_odds({0, 65536, 0});
    const Contents bytes = sectors(8, seed);
    EXPECT_THROW(bench.write(0, bytes), Error);
    uint64_t count = 0;
    for (size_t i = 0; i < 8; ++i) {
      const Contents found = get(bench.disk.cache().now(), i * kSectorSize, kSectorSize);
      count += std::equal(found.begin(), found.end(),
                          bytes.begin() + static_cast<ptrdiff_t>(i * kSectorSize));
    }
    written.insert(count);
  }
  EXPECT_GT(written.size(), 4u);
}

TEST(SimulatedDisk, ReadsAndFlushesFailAtTheGivenOdds) {
  Bench bench(kSectorSize);
  bench.disk.set_odds({65536, 0, 65536});
  Contents bytes(kSectorSize);
  EXPECT_THROW(bench.loop.run(bench.disk.read(0, Bytes(bytes))), Error);
  EXPECT_THROW(bench.flush(), Error);
  bench.disk.set_odds({});
  EXPECT_NO_THROW(bench.flush());
}

TEST(SimulatedDisk, AFullDiskTakesWhatNeedsNoSpaceAndMoreWhenThereIsRoomAgain) {
  Bench bench;
  bench.write(0, sectors(8, 1));
  bench.disk.set_room(storage::SparseBytes::kChunkSize);
  EXPECT_NO_THROW(bench.write(0, sectors(8, 2)));
  try {
    bench.write(storage::SparseBytes::kChunkSize, sectors(1, 3));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), ENOSPC);
  }
  bench.disk.set_room(UINT64_MAX);
  EXPECT_NO_THROW(bench.write(storage::SparseBytes::kChunkSize, sectors(1, 3)));
}

TEST(SimulatedDisk, WithoutPowerEveryRequestFailsAndNothingChanges) {
  Bench bench;
  const Contents bytes = sectors(1, 1);
  bench.write(0, bytes);
  bench.disk.power_off();
  EXPECT_THROW(bench.write(0, sectors(1, 2)), Error);
  EXPECT_THROW(bench.flush(), Error);
  EXPECT_THROW(bench.loop.run(bench.disk.resize(0, Preallocation::kOff)), Error);
  EXPECT_EQ(get(bench.disk.cache().now(), 0, kSectorSize), bytes);
}

TEST(SimulatedDisk, ADiskOfFixedSizeDoesNotGrow) {
  SimulatedDisk::Options options;
  options.grows = false;
  Bench bench(kSectorSize, options);
  EXPECT_THROW(bench.write(kSectorSize, sectors(1, 1)), Error);
  EXPECT_THROW(bench.loop.run(bench.disk.resize(2 * kSectorSize, Preallocation::kOff)), Error);
  EXPECT_FALSE(bench.disk.limits().is_zero_initialised);
}

TEST(SimulatedDisk, WhatWasCutOffDoesNotComeBackOnceThatIsDurable) {
  Bench bench;
  bench.write(0, sectors(8, 1));
  bench.flush();
  bench.loop.run(bench.disk.resize(1000, Preallocation::kOff));
  std::set<uint64_t> sizes;
  for (uint64_t seed = 0; seed < 100; ++seed) sizes.insert(bench.cut(seed).size());
  EXPECT_TRUE(sizes.contains(1000));
  EXPECT_TRUE(sizes.contains(8 * kSectorSize));
  bench.loop.run(bench.disk.resize(8 * kSectorSize, Preallocation::kOff));
  bench.flush();
  Contents expected = sectors(8, 1);
  std::fill(expected.begin() + 1000, expected.end(), uint8_t{0});
  EXPECT_EQ(get(bench.cut(1), 0, expected.size()), expected);
}

TEST(SimulatedDisk, WhoeverComesAfterAKillMayStillLoseWhatWasNotFlushed) {
  Bench killed;
  const Contents older = sectors(2, 1);
  killed.write(0, older);
  killed.write(0, older);
  Loop loop(seeded(2));
  SimulatedDisk disk(killed.disk.cache(), {});
  const Contents newer = sectors(2, 2);
  loop.run(disk.write(0, ConstBytes(newer)));
  std::set<Contents> left;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    storage::SparseBytes cut = disk.cache().power_cut(seed);
    cut.resize(kSectorSize);
    left.insert(get(cut, 0, kSectorSize));
  }
  EXPECT_EQ(left, (std::set<Contents>{Contents(kSectorSize), sectors(1, 1), sectors(1, 2)}));
  EXPECT_EQ(disk.requests(), 1u);
  loop.run(disk.flush());
  EXPECT_EQ(get(disk.cache().power_cut(1), 0, newer.size()), newer);
}

TEST(SimulatedDisk, WhatIsWrittenWhereSomethingWasCutOffIsDurableAfterAFlush) {
  Bench bench;
  bench.write(0, sectors(8, 1));
  bench.flush();
  bench.loop.run(bench.disk.resize(0, Preallocation::kOff));
  const Contents bytes = sectors(4, 2);
  bench.write(0, bytes);
  bench.flush();
  EXPECT_EQ(get(bench.cut(1), 0, bytes.size()), bytes);
  EXPECT_EQ(bench.cut(2).size(), bytes.size());
}

TEST(SimulatedDisk, AFailedFlushMayForgetWhatTheNextOneThenDoesNotMakeDurable) {
  std::set<bool> kept;
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SimulatedDisk::Options options;
    options.seed = seed;
    Bench bench(0, options);
    const Contents bytes = sectors(1, seed);
    bench.write(0, bytes);
    bench.disk.set_odds({0, 0, 65536});
    EXPECT_THROW(bench.flush(), Error);
    bench.disk.set_odds({});
    bench.flush();
    EXPECT_EQ(get(bench.disk.cache().now(), 0, kSectorSize), bytes);
    const bool is_kept = get(bench.cut(seed), 0, kSectorSize) == bytes;
    SimulatedCache later = bench.disk.cache();
    later.settle();
    EXPECT_EQ(get(later.now(), 0, kSectorSize) == bytes, is_kept);
    kept.insert(is_kept);
  }
  EXPECT_EQ(kept.size(), 2u);
}

TEST(SimulatedDisk, ADiscardThatIsIgnoredLeavesTheBytes) {
  SimulatedDisk::Options options;
  options.discards = SimulatedDisk::Discards::kKeep;
  Bench bench(0, options);
  const Contents bytes = sectors(1, 1);
  bench.write(0, bytes);
  bench.loop.run(bench.disk.discard(0, kSectorSize));
  EXPECT_EQ(get(bench.disk.cache().now(), 0, kSectorSize), bytes);
}

}  // namespace
}  // namespace byre::faults
