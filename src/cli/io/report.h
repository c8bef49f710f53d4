// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/bytes.h"

// What the shell prints about requests, byte for byte like qemu-io.
namespace byre::cli::io {

// "512 bytes", "1.500 KiB", "2 GiB": three decimals, none if all three are zero; bytes with six.
std::string amount_text(double bytes);

// "00.02 sec"; from one minute on "0:01:01.36". `always_long`: that form for short times, too.
std::string duration_text(std::chrono::nanoseconds duration, bool always_long);

// How a command reports its request.
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

// -v: sixteen bytes per line, preceded by the offset and followed by letters and digits.
std::string dump_text(ConstBytes bytes, uint64_t offset);

}  // namespace byre::cli::io
