// SPDX-License-Identifier: Apache-2.0
#include "storage/cache_mode.h"

#include <gtest/gtest.h>

namespace byre::storage {
namespace {

TEST(CacheMode, HasQemusNames) {
  for (const CacheMode mode : {CacheMode::kNone, CacheMode::kWriteback, CacheMode::kWritethrough,
                               CacheMode::kDirectsync, CacheMode::kUnsafe}) {
    EXPECT_EQ(parse_cache_mode(cache_mode_name(mode)), mode);
  }
  EXPECT_EQ(parse_cache_mode("off"), CacheMode::kNone);
  for (const char* other : {"", "on", "None", "writeback ", "write-back"}) {
    EXPECT_EQ(parse_cache_mode(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace byre::storage
