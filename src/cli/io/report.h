// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/bytes.h"

// What the shell prints of requests, to the byte as qemu-io does.
namespace byre::cli::io {

// "512 bytes", "1.500 KiB", "2 GiB": three places, none where all three are zero; bytes with six.
std::string amount_text(double bytes);

// "00.02 sec"; from a minute on "0:01:01.36". `always_long`: that form for short times, too.
std::string duration_text(std::chrono::nanoseconds duration, bool always_long);

// How a command tells of its request.
struct ReportStyle {
  bool quiet = false;    // -q: nothing at all
  bool machine = false;  // -C: one line of numbers
};

// A finished request: two lines, or one line of comma-separated numbers.
struct Report {
  std::string verb;  // "read", "wrote", "discard"
  std::chrono::nanoseconds duration{0};
  uint64_t offset = 0;
  uint64_t length = 0;
};
std::string report_text(const Report& report, ReportStyle style);

// -v: sixteen bytes a line, with the offset before and letters and digits behind.
std::string dump_text(ConstBytes bytes, uint64_t offset);

}  // namespace byre::cli::io
