// SPDX-License-Identifier: Apache-2.0
#include "cli/sizes.h"

#include <cerrno>
#include <cstdio>

#include "byre/error.h"

namespace byre::cli {

uint64_t parse_size_argument(std::string_view what, const std::string& text, uint64_t min,
                             uint64_t max) {
  const ParsedSize size = parse_size(text);
  const std::string start = "Invalid " + std::string(what) + " specified";
  if (size.fault == SizeFault::kNotANumber) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, start + ": '" + text + "'.");
  }
  if (size.fault == SizeFault::kOutOfRange || size.value < min || size.value > max) {
    throw Error(
        ErrorKind::kInvalidArgument, ERANGE,
        start + ". Must be between " + std::to_string(min) + " and " + std::to_string(max) + ".");
  }
  return size.value;
}

std::string human_size(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  // Three digits are shown, so a unit is used for values below a thousand of it.
  size_t unit = 0;
  while (unit + 1 < std::size(kUnits) && (bytes >> (10 * unit)) >= 1000) ++unit;
  const double value = static_cast<double>(bytes) / static_cast<double>(uint64_t{1} << (10 * unit));
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %s", value, kUnits[unit]);
  return text;
}

}  // namespace byre::cli
