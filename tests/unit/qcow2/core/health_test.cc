// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/health.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "storage/memory_device.h"

namespace byre::qcow2 {
namespace {

using Phase = Health::Phase;

// What each check throws in a state: 0 is nothing.
struct Refusals {
  int write = 0;
  int flush = 0;
  int read = 0;
  int allocation = 0;  // of an image that must be repaired first
  bool operator==(const Refusals&) const = default;
};

template <class Check>
int errno_of(Check check) {
  try {
    check();
  } catch (const Error& error) {
    return error.errno_value();
  }
  return 0;
}

Refusals refusals(const Health& health) {
  return {errno_of([&] { health.check_may_write(); }), errno_of([&] { health.check_not_failed(); }),
          errno_of([&] { health.check_not_corrupt(); }),
          errno_of([&] { health.check_repaired(); })};
}

class HealthTest : public testing::TestWithParam<Phase> {
 protected:
  Health make(Phase phase) {
    return {file_, phase, [this](const Warning& warning) { warnings_.push_back(warning); }};
  }

  storage::MemoryDevice file_{0, "disk.qcow2"};
  std::vector<Warning> warnings_;
};

TEST_P(HealthTest, RefusesWhatTheTableOfStatesSays) {
  const int by_phase = GetParam() == Phase::kReadOnly ? EACCES : 0;
  const int until_repaired = GetParam() == Phase::kUnrepaired ? EIO : 0;
  Health health = make(GetParam());
  EXPECT_EQ(refusals(health), (Refusals{by_phase, 0, 0, until_repaired}));
  health.note_failure(Error::from_errno(EROFS, "a write failed"), Health::Operation::kWrite);
  EXPECT_EQ(refusals(health), (Refusals{EROFS, EROFS, 0, until_repaired}));
  // The first failure counts.
  health.note_failure(Error::from_errno(EIO, "another one"), Health::Operation::kFlush);
  EXPECT_EQ(refusals(health), (Refusals{EROFS, EROFS, 0, until_repaired}));
  EXPECT_EQ(health.report_corruption({}, "a finding").errno_value(), EIO);
  const bool is_refused = GetParam() != Phase::kReadOnly;
  EXPECT_EQ(health.must_be_marked_corrupt(), is_refused);
  EXPECT_EQ(refusals(health), (Refusals{EROFS, EROFS, is_refused ? ENOMEDIUM : 0, until_repaired}));
}

INSTANTIATE_TEST_SUITE_P(Phases, HealthTest,
                         testing::Values(Phase::kReadOnly, Phase::kUnrepaired, Phase::kFresh,
                                         Phase::kPrepared));

TEST_F(HealthTest, AWriteThatFoundNoSpaceIsTriedAgainButNotAFlush) {
  Health health = make(Phase::kPrepared);
  health.note_failure(Error::from_errno(ENOSPC, "full"), Health::Operation::kWrite);
  EXPECT_EQ(refusals(health), Refusals());
  health.note_failure(Error::from_errno(ENOSPC, "full"), Health::Operation::kFlush);
  EXPECT_EQ(refusals(health), (Refusals{ENOSPC, ENOSPC, 0, 0}));
}

TEST_F(HealthTest, WarnsOnceAnImageAndOnceMoreWhereItIsMarked) {
  Health health = make(Phase::kPrepared);
  health.warn_of_corruption({}, "the first");
  health.warn_of_corruption({}, "the second");
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_EQ(warnings_[0].kind, WarningKind::kCorrupt);
  EXPECT_EQ(warnings_[0].problem.sentence(), "the first");
  health.report_corruption({}, "a fatal one");
  health.report_corruption({}, "another");
  health.warn_of_corruption({}, "the last");
  ASSERT_EQ(warnings_.size(), 2u);
  EXPECT_EQ(warnings_[1].kind, WarningKind::kMarkedCorrupt);
  EXPECT_EQ(warnings_[1].problem.sentence(), "a fatal one");
}

TEST_F(HealthTest, IsPreparedOnceItWasToldSo) {
  Health health = make(Phase::kFresh);
  EXPECT_FALSE(health.is_prepared());
  health.set_prepared();
  EXPECT_TRUE(health.is_prepared());
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(health.set_prepared(), "assertion failed");
}

}  // namespace
}  // namespace byre::qcow2
