// SPDX-License-Identifier: Apache-2.0
#include "cli/io/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

namespace byre::cli::io {
namespace {

constexpr size_t kBytesPerLine = 16;

// ASCII letters and digits, whatever the locale.
bool is_shown(uint8_t byte) {
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z');
}

// Removes a fraction that is all zeroes.
std::string without_zero_fraction(std::string text) {
  const size_t point = text.find('.');
  if (point != std::string::npos && text.find_first_not_of('0', point + 1) == std::string::npos) {
    text.resize(point);
  }
  return text;
}

double per_second(double count, std::chrono::nanoseconds duration) {
  // If the clock did not advance, the rate would be infinite.
  const double nanoseconds = std::max<double>(1, static_cast<double>(duration.count()));
  return count * 1e9 / nanoseconds;
}

}  // namespace

std::string amount_text(double bytes) {
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return without_zero_fraction(fmt::format("{:f}", bytes)) + " bytes";
  size_t unit = 0;
  double value = bytes / 1024;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  return without_zero_fraction(fmt::format("{:.3f}", value)) + " " + kUnits[unit];
}

std::string duration_text(std::chrono::nanoseconds duration, bool always_long) {
  constexpr int64_t kPerHundredth = 10'000'000;
  const auto hundredths =
      static_cast<uint64_t>((duration.count() + kPerHundredth / 2) / kPerHundredth);
  const uint64_t seconds = hundredths / 100;
  if (seconds < 60 && !always_long) {
    return fmt::format("{:02}.{:02} sec", seconds, hundredths % 100);
  }
  return fmt::format("{}:{:02}:{:02}.{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                     hundredths % 100);
}

std::string report_text(const Report& report, ReportStyle style) {
  if (style.quiet) return "";
  const double bytes_rate = per_second(static_cast<double>(report.length), report.duration);
  const double request_rate = per_second(1, report.duration);
  if (style.machine) {
    return fmt::format("{},1,{},{:.3f},{:.3f}\n", report.length,
                       duration_text(report.duration, true), bytes_rate, request_rate);
  }
  return fmt::format("{} {}/{} bytes at offset {}\n{}, 1 ops; {} ({}/sec and {:.4f} ops/sec)\n",
                     report.verb, report.length, report.length, report.offset,
                     amount_text(static_cast<double>(report.length)),
                     duration_text(report.duration, false), amount_text(bytes_rate), request_rate);
}

std::string dump_text(ConstBytes bytes, uint64_t offset) {
  std::string text;
  for (size_t start = 0; start < bytes.size(); start += kBytesPerLine) {
    const ConstBytes line =
        bytes.subspan(start, std::min<size_t>(kBytesPerLine, bytes.size() - start));
    text += fmt::format("{:08x}:  ", offset + start);
    for (const uint8_t byte : line) text += fmt::format("{:02x} ", byte);
    text += ' ';
    for (const uint8_t byte : line) text += is_shown(byte) ? static_cast<char>(byte) : '.';
    text += '\n';
  }
  return text;
}

}  // namespace byre::cli::io
