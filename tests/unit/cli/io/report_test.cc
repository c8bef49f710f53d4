// SPDX-License-Identifier: Apache-2.0
#include "cli/io/report.h"

#include <gtest/gtest.h>

#include <vector>

namespace byre::cli::io {
namespace {

using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(AmountText, HasThreePlacesUnlessTheyAreZero) {
  EXPECT_EQ(amount_text(0), "0 bytes");
  EXPECT_EQ(amount_text(512), "512 bytes");
  EXPECT_EQ(amount_text(1023), "1023 bytes");
  EXPECT_EQ(amount_text(1024), "1 KiB");
  EXPECT_EQ(amount_text(1025), "1.001 KiB");
  EXPECT_EQ(amount_text(1536), "1.500 KiB");
  EXPECT_EQ(amount_text(1500160), "1.431 MiB");
  EXPECT_EQ(amount_text(4e12), "3.638 TiB");
  EXPECT_EQ(amount_text(2147483136), "2 GiB");
  EXPECT_EQ(amount_text(8.0 * (uint64_t{1} << 60)), "8 EiB");
  EXPECT_EQ(amount_text(161.169567), "161.169567 bytes");
}

TEST(DurationText, IsShortBelowAMinute) {
  EXPECT_EQ(duration_text(nanoseconds(0), false), "00.00 sec");
  EXPECT_EQ(duration_text(microseconds(17'400), false), "00.02 sec");
  EXPECT_EQ(duration_text(milliseconds(59'994), false), "59.99 sec");
  // Hundredths that round up carry into the seconds.
  EXPECT_EQ(duration_text(milliseconds(999), false), "01.00 sec");
  EXPECT_EQ(duration_text(milliseconds(59'996), false), "0:01:00.00");
  EXPECT_EQ(duration_text(milliseconds(61'363), false), "0:01:01.36");
  EXPECT_EQ(duration_text(hours(3) + seconds(59) + milliseconds(60), false), "3:00:59.06");
  EXPECT_EQ(duration_text(milliseconds(1300), true), "0:00:01.30");
}

TEST(ReportText, IsTwoLinesOrOneOrNothing) {
  const Report report{"read", milliseconds(500), 1024, 65536};
  EXPECT_EQ(report_text(report, {}),
            "read 65536/65536 bytes at offset 1024\n"
            "64 KiB, 1 ops; 00.50 sec (128 KiB/sec and 2.0000 ops/sec)\n");
  EXPECT_EQ(report_text(report, {.quiet = false, .machine = true}),
            "65536,1,0:00:00.50,131072.000,2.000\n");
  EXPECT_EQ(report_text(report, {.quiet = true, .machine = true}), "");
}

TEST(ReportText, ARequestThatTookNoTimeHasARate) {
  EXPECT_EQ(report_text({"wrote", nanoseconds(0), 0, 0}, {}),
            "wrote 0/0 bytes at offset 0\n"
            "0 bytes, 1 ops; 00.00 sec (0 bytes/sec and 1000000000.0000 ops/sec)\n");
}

TEST(DumpText, ShowsLettersAndDigitsAndStopsInTheMiddleOfALine) {
  std::vector<uint8_t> bytes;
  for (const char c : std::string("AZaz09 ~\x7f\xe4[]_-\n\r+x")) {
    bytes.push_back(static_cast<uint8_t>(c));
  }
  EXPECT_EQ(dump_text(bytes, 5),
            "00000005:  41 5a 61 7a 30 39 20 7e 7f e4 5b 5d 5f 2d 0a 0d  AZaz09..........\n"
            "00000015:  2b 78  .x\n");
  EXPECT_EQ(dump_text({}, 5), "");
  EXPECT_EQ(dump_text(ConstBytes(bytes).first(1), uint64_t{5} << 30), "140000000:  41  A\n");
}

}  // namespace
}  // namespace byre::cli::io
