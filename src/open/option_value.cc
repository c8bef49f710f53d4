// SPDX-License-Identifier: Apache-2.0
#include "open/option_value.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>

#include "base/size_text.h"
#include "byre/error.h"
#include "open/invalid_argument.h"

namespace byre::open {

bool parse_bool_option(std::string_view name, const std::string& text) {
  if (text == "on" || text == "yes" || text == "true" || text == "y") return true;
  if (text == "off" || text == "no" || text == "false" || text == "n") return false;
  throw invalid_argument(fmt::format("Parameter '{}' expects 'on' or 'off'", name));
}

uint64_t parse_size_option(std::string_view name, const std::string& text) {
  const ParsedSize size = parse_size(text);
  if (!size.fault) return size.value;
  if (*size.fault == SizeFault::kOutOfRange) {
    throw invalid_argument(
        fmt::format("Value '{}' is out of range for parameter '{}'", text, name));
  }
  throw invalid_argument(
      fmt::format("Parameter '{}' expects a non-negative number below 2^64\n"
                  "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                  "and exabytes, respectively.",
                  name));
}

uint64_t parse_number_option(std::string_view name, const std::string& text) {
  char* end = nullptr;
  errno = 0;
  const uint64_t value = std::strtoull(text.c_str(), &end, 0);
  if (end == text.c_str() || *end != '\0') {
    throw invalid_argument(fmt::format("Parameter '{}' expects a number", name));
  }
  if (errno == ERANGE) {
    throw invalid_argument(fmt::format("Value '{}' is too large for parameter '{}'", text, name));
  }
  return value;
}

std::optional<bool> take_bool(OptionTree& options, std::string_view name) {
  const std::optional<std::string> text = options.take_text(name);
  return text ? std::optional(parse_bool_option(name, *text)) : std::nullopt;
}

std::optional<uint64_t> take_number(OptionTree& options, std::string_view name) {
  const std::optional<std::string> text = options.take_text(name);
  return text ? std::optional(parse_number_option(name, *text)) : std::nullopt;
}

std::optional<uint64_t> take_size(OptionTree& options, std::string_view name) {
  const std::optional<std::string> text = options.take_text(name);
  return text ? std::optional(parse_size_option(name, *text)) : std::nullopt;
}

void refuse_value(const std::string& text) {
  throw invalid_argument("invalid parameter value: " + text);
}

}  // namespace byre::open
