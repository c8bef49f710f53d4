// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/header_rewrite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

// All that a first cluster says, apart from the names of feature bits.
std::pair<HeaderCluster, std::string> content(const std::vector<uint8_t>& bytes) {
  HeaderCluster cluster = HeaderCluster::parse(bytes, {.for_check = true});
  cluster.extensions.feature_names.reset();
  cluster.header.backing_file_offset = 0;
  return {cluster, cluster.backing_file_name};
}

HeaderCluster sample(uint32_t version, uint32_t bits, size_t name, const char* format) {
  HeaderCluster cluster{sample_header(version, bits), {}, std::string(name, 'n')};
  if (*format != 0) cluster.extensions.backing_format = format;
  if (version >= 3 && bits > 9) cluster.extensions.feature_names = known_feature_names();
  return cluster;
}

// Each sector past the first one is as before, as afterwards, or garbage if no reader looks at it.
void expect_old_until_the_first_sector(const std::vector<uint8_t>& from,
                                       const std::vector<uint8_t>& to, uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int i = 0; i < 8; ++i) {
    std::vector<uint8_t> torn = from;
    for (size_t at = kSectorSize; at < torn.size(); at += kSectorSize) {
      if (random() % 2 == 0) continue;
      std::copy_n(to.begin() + static_cast<ptrdiff_t>(at), kSectorSize,
                  torn.begin() + static_cast<ptrdiff_t>(at));
    }
    ASSERT_EQ(content(torn), content(from));
  }
  std::vector<uint8_t> before_the_first_sector = to;
  std::copy_n(from.begin(), kSectorSize, before_the_first_sector.begin());
  ASSERT_EQ(content(before_the_first_sector), content(from));
}

struct Change {
  HeaderCluster old;
  std::string name;
  std::string format;
};

HeaderRewrite rewrite(Change change, std::vector<uint8_t>* before = nullptr) {
  const std::vector<uint8_t> bytes = change.old.encode();
  HeaderCluster target = change.old;
  target.backing_file_name = change.name;
  target.extensions.backing_format.reset();
  if (!change.format.empty()) target.extensions.backing_format = change.format;
  HeaderRewrite plan = HeaderRewrite::plan(bytes, target);
  target.extensions.feature_names.reset();
  const std::vector<uint8_t> after = target.encode();
  std::vector<uint8_t> from = bytes;
  for (const std::vector<uint8_t>& to : plan.steps) {
    if (plan.is_atomic) expect_old_until_the_first_sector(from, to, 1);
    const auto now = content(to);
    EXPECT_TRUE(now == content(bytes) || now == content(after));
    from = to;
  }
  EXPECT_EQ(content(from), content(after));
  EXPECT_EQ(content(plan.cleared), content(after));
  if (before != nullptr) *before = bytes;
  return plan;
}

TEST(HeaderRewrite, LeavesTheOldOrTheNewNamesWhateverTheyAre) {
  int counts[2] = {};
  for (const uint32_t version : {2u, 3u}) {
    for (const uint32_t bits : {9u, 10u, 12u, 16u}) {
      for (const size_t old_size : {0, 1, 8, 300, 390, 1023}) {
        for (const size_t size : {0, 1, 8, 300, 390, 1023}) {
          for (const char* old_format : {"", "raw", "host_device"}) {
            for (const char* format : {"", "raw", "qcow2", "host_device"}) {
              const size_t room = (size_t{1} << bits) - (bits == 9 ? 150 : 0);
              if (std::max(old_size, size) > room - (bits == 10 ? 530 : 0)) continue;
              Change change{sample(version, bits, old_size, old_format), std::string(size, 'm'),
                            format};
              SCOPED_TRACE(testing::Message() << version << " " << bits << " " << old_size << " "
                                              << size << " " << old_format << " " << format);
              const bool is_atomic = rewrite(change).is_atomic;
              ++counts[is_atomic];
              EXPECT_TRUE(is_atomic);
              if (testing::Test::HasFailure()) return;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(counts[1], 1500);
}

TEST(HeaderRewrite, KeepsOtherExtensions) {
  HeaderCluster old = sample(3, 16, 20, "raw");
  old.extensions.unknown = {{42, {1, 2, 3}}, {43, std::vector<uint8_t>(100, 7)}};
  old.extensions.data_file_name = "data.raw";
  old.header.incompatible_features |= incompatible::kExternalDataFile;
  old.header.autoclear_features |= autoclear::kBitmaps;
  BitmapsExtension bitmaps;
  bitmaps.bitmap_count = 1;
  bitmaps.directory_size = 32;
  bitmaps.directory_offset = HostOffset(7 << 16);
  old.extensions.bitmaps = bitmaps;
  for (const char* format : {"", "raw", "host_device"}) {
    for (const size_t size : {0, 7, 1000}) {
      SCOPED_TRACE(testing::Message() << format << " " << size);
      const HeaderRewrite plan = rewrite({old, std::string(size, 'm'), format});
      EXPECT_TRUE(plan.is_atomic);
      const HeaderCluster after = HeaderCluster::parse(plan.cleared);
      EXPECT_EQ(after.extensions.unknown, old.extensions.unknown);
      EXPECT_EQ(after.extensions.feature_names, old.extensions.feature_names);
      EXPECT_EQ(after.extensions.bitmaps, bitmaps);
      EXPECT_EQ(after.extensions.data_file_name, "data.raw");
    }
  }
}

// Its order of extensions is not the one that is written here.
TEST(HeaderRewrite, TakesAnyOrderOfExtensions) {
  HeaderCluster old = sample(3, 16, 0, "");
  std::vector<uint8_t> bytes = old.encode();
  const uint64_t end = old.extensions_end() - 8;
  const auto put = [&bytes](size_t at, std::vector<uint8_t> from) {
    std::ranges::copy(from, bytes.begin() + static_cast<ptrdiff_t>(at));
  };
  put(end, {0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3, 'r', 'a', 'w', 0, 0, 0, 0, 0});
  put(end + 24, {'b', 'a', 's', 'e'});
  put(8, {0, 0, 0, 0, 0, 0, static_cast<uint8_t>((end + 24) >> 8), static_cast<uint8_t>(end + 24)});
  put(16, {0, 0, 0, 4});
  HeaderCluster target = HeaderCluster::parse(bytes);
  ASSERT_EQ(target.backing_file_name, "base");
  ASSERT_EQ(target.extensions.backing_format, "raw");
  target.backing_file_name = "other";
  const HeaderRewrite plan = HeaderRewrite::plan(bytes, target);
  EXPECT_TRUE(plan.is_atomic);
  std::vector<uint8_t> from = bytes;
  for (const std::vector<uint8_t>& to : plan.steps) {
    expect_old_until_the_first_sector(from, to, 2);
    from = to;
  }
  EXPECT_EQ(content(from).second, "other");
}

TEST(HeaderRewrite, NothingOfTheOldNameStays) {
  std::vector<uint8_t> before;
  const HeaderRewrite plan = rewrite({sample(3, 16, 1000, "raw"), "m", "raw"}, &before);
  EXPECT_EQ(std::ranges::count(before, 'n') - std::ranges::count(plan.cleared, 'n'), 1000);
}

TEST(HeaderRewrite, TheSameNamesAgainTakeOneStep) {
  std::vector<uint8_t> before;
  const HeaderRewrite plan = rewrite({sample(3, 16, 4, "raw"), "nnnn", "raw"}, &before);
  EXPECT_EQ(plan.steps.front(), before);
  EXPECT_EQ(plan.cleared, before);
}

TEST(HeaderRewrite, SaysWhenAPowerCutCanDivideIt) {
  HeaderCluster old = sample(3, 16, 8, "");
  old.extensions.unknown = {{42, std::vector<uint8_t>(1000, 7)}};
  const HeaderRewrite plan = rewrite({old, "other", "raw"});
  EXPECT_FALSE(plan.is_atomic);
  EXPECT_EQ(plan.steps.size(), 1u);
  EXPECT_TRUE(rewrite({old, "other", ""}).is_atomic);
}

TEST(HeaderRewrite, FeatureNamesMakeRoom) {
  const HeaderRewrite plan = rewrite({sample(3, 10, 8, "raw"), std::string(800, 'm'), "raw"});
  EXPECT_TRUE(plan.is_atomic);
  HeaderCluster old = sample(3, 10, 8, "raw");
  EXPECT_EQ(refusal([&] { rewrite({old, std::string(890, 'm'), "raw"}); }),
            "qcow2-header-too-large");
}

}  // namespace
}  // namespace byre::qcow2::layout
