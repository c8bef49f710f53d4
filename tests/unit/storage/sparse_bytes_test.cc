// SPDX-License-Identifier: Apache-2.0
#include "storage/sparse_bytes.h"

#include <gtest/gtest.h>

#include "unit/support/pattern.h"

namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

Contents get(const SparseBytes& bytes, uint64_t offset, size_t length) {
  Contents result(length);
  bytes.read(offset, result);
  return result;
}

TEST(SparseBytes, ACopyKeepsWhatItHadWhenTheOtherChanges) {
  SparseBytes one;
  const Contents first = pattern(0, 10000, 1);
  one.write(0, first);
  SparseBytes other = one;
  const Contents second = pattern(5000, 3000, 2);
  one.write(5000, second);
  other.clear(0, 4096);
  other.resize(9000);
  EXPECT_EQ(get(one, 0, 5000), Contents(first.begin(), first.begin() + 5000));
  EXPECT_EQ(get(one, 5000, 3000), second);
  EXPECT_EQ(get(other, 0, 4096), Contents(4096));
  EXPECT_EQ(get(other, 4096, 9000 - 4096), Contents(first.begin() + 4096, first.begin() + 9000));
  EXPECT_EQ(one.size(), first.size());
}

TEST(SparseBytes, WhatWasCutOffReadsAsZeroesWhenItGrowsAgain) {
  SparseBytes bytes;
  bytes.write(0, pattern(0, 10000, 1));
  bytes.resize(100);
  bytes.resize(10000);
  Contents expected = pattern(0, 100, 1);
  expected.resize(10000);
  EXPECT_EQ(get(bytes, 0, 10000), expected);
}

TEST(SparseBytes, ExtentsAndSpaceFollowTheChunks) {
  constexpr uint64_t kChunk = SparseBytes::kChunkSize;
  SparseBytes bytes(8 * kChunk);
  bytes.write(2 * kChunk + 5, Contents{1});
  bytes.write(3 * kChunk, Contents{1});
  EXPECT_EQ(bytes.allocated(), 2 * kChunk);
  EXPECT_EQ(bytes.missing_in(kChunk + 1, 2 * kChunk), kChunk);
  const SparseBytes::Extent hole = bytes.extent_at(100, 5 * kChunk);
  EXPECT_FALSE(hole.data);
  EXPECT_EQ(hole.length, 2 * kChunk - 100);
  const SparseBytes::Extent data = bytes.extent_at(2 * kChunk + 5, 5 * kChunk);
  EXPECT_TRUE(data.data);
  EXPECT_EQ(data.length, 2 * kChunk - 5);
  bytes.clear(2 * kChunk, kChunk);
  EXPECT_EQ(bytes.allocated(), kChunk);
}

}  // namespace
}  // namespace byre::storage
