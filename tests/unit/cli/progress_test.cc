// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <gtest/gtest.h>

#include <csignal>

#include "cli/options.h"
#include "cli/signals.h"

namespace byre::cli {
namespace {

TEST(ProgressPrinter, TextIsQemusLine) {
  testing::internal::CaptureStdout();
  {
    ProgressPrinter printer(ProgressStyle::kText, 1);
    printer.update(1, 8);
    printer.update(8, 8);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "    (0.00/100%)\r    (12.50/100%)\r    (100.00/100%)\r\n");
}

TEST(ProgressPrinter, StepsThatAreTooSmallAreLeftOut) {
  testing::internal::CaptureStdout();
  {
    ProgressPrinter printer(ProgressStyle::kText, 2);
    for (uint64_t done = 1; done <= 50; ++done) printer.update(done, 1000);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "    (0.00/100%)\r    (2.00/100%)\r    (4.00/100%)\r\n");
}

TEST(ProgressPrinter, NothingToDoIsDone) {
  testing::internal::CaptureStdout();
  {
    ProgressPrinter printer(ProgressStyle::kText, 1);
    printer.update(0, 0);
  }
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "    (0.00/100%)\r    (100.00/100%)\r\n");
}

TEST(ProgressPrinter, JsonIsOneObjectALineOnStandardError) {
  testing::internal::CaptureStderr();
  {
    ProgressPrinter printer(ProgressStyle::kJson, 1);
    printer.update(1, 4);
    printer.update(4, 4);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "{\"done\": 1, \"total\": 4, \"percent\": 25.00}\n"
            "{\"done\": 4, \"total\": 4, \"percent\": 100.00}\n");
}

TEST(ProgressPrinter, SilentExceptWhenASignalAsks) {
  testing::internal::CaptureStderr();
  {
    ProgressPrinter printer(ProgressStyle::kNone, 1);
    printer.update(1, 4);
    raise(SIGUSR1);
    printer.update(2, 4);
    printer.update(4, 4);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "    (50.00/100%)\n");
}

TEST(ProgressPrinter, ASignalAfterItsEndKillsNobody) {
  {
    ProgressPrinter printer(ProgressStyle::kNone, 1);
  }
  raise(SIGUSR1);
}

TEST(ParseProgressStyle, KnowsTwo) {
  EXPECT_EQ(parse_progress_style("json"), ProgressStyle::kJson);
  EXPECT_EQ(parse_progress_style("text"), ProgressStyle::kText);
  EXPECT_THROW(parse_progress_style("xml"), UsageError);
}

TEST(InterruptibleScopeDeathTest, TheFirstSignalAsksAndTheProcessEndsByItLater) {
  EXPECT_EXIT(
      {
        std::signal(SIGTERM, SIG_DFL);
        InterruptibleScope scope;
        raise(SIGTERM);
        if (!scope.cancellation().is_requested() || received_signal() != SIGTERM) _exit(1);
        die_from_received_signal();
      },
      testing::KilledBySignal(SIGTERM), "");
}

TEST(InterruptibleScopeDeathTest, TheSecondSignalKills) {
  EXPECT_EXIT(
      {
        // Tests that run in a shell's background inherit it as ignored.
        std::signal(SIGINT, SIG_DFL);
        InterruptibleScope scope;
        raise(SIGINT);
        raise(SIGINT);
        _exit(0);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptibleScopeDeathTest, ASignalThatIsIgnoredStaysIgnored) {
  EXPECT_EXIT(
      {
        std::signal(SIGHUP, SIG_IGN);
        InterruptibleScope scope;
        raise(SIGHUP);
        _exit(scope.cancellation().is_requested() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace byre::cli
