// SPDX-License-Identifier: Apache-2.0
#include "cli/numbers.h"

#include <cerrno>
#include <cstdlib>

#include "byre/error.h"

namespace byre::cli {

int64_t parse_number_argument(std::string_view what, const std::string& text, int64_t min,
                              int64_t max) {
  const std::string invalid = "Invalid " + std::string(what) + " specified";
  errno = 0;
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 0);
  if (end == text.c_str() || *end != '\0') {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, invalid + ": '" + text + "'.");
  }
  if (errno == ERANGE || value < min || value > max) {
    throw Error(
        ErrorKind::kInvalidArgument, ERANGE,
        invalid + ". Must be between " + std::to_string(min) + " and " + std::to_string(max) + ".");
  }
  return value;
}

}  // namespace byre::cli
