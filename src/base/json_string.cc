// SPDX-License-Identifier: Apache-2.0
#include "base/json_string.h"

#include <cstdint>
#include <cstdio>

namespace byre {
namespace {

// The number of bytes that follow the first one of a sequence; -1 if it does not start one.
// Sequences of 5 and 6 bytes are obsolete, but are still treated as one unit.
int bytes_after(uint8_t first) {
  if (first < 0xc0 || first >= 0xfe) return -1;
  return first >= 0xfc ? 5 : first >= 0xf8 ? 4 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
}

// Removes one UTF-8 character from the front of `text`; 0xfffd if it is invalid. A byte that does
// not start a sequence, or a truncated sequence, consumes the bytes that were valid.
uint32_t take_character(std::string_view& text) {
  constexpr uint32_t kReplacement = 0xfffd;
  const auto first = static_cast<uint8_t>(text.front());
  text.remove_prefix(1);
  if (first < 0x80) return first;
  const int more = bytes_after(first);
  if (more < 0) return kReplacement;
  uint32_t value = first & (0x3fu >> more);
  for (int i = 0; i < more; ++i) {
    if (text.empty() || (static_cast<uint8_t>(text.front()) & 0xc0) != 0x80) return kReplacement;
    value = value << 6 | (static_cast<uint8_t>(text.front()) & 0x3f);
    text.remove_prefix(1);
  }
  constexpr uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000, 0x200000, 0x4000000};
  const bool is_zero = value == 0 && more == 1;  // as Java encodes it
  const bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
  const bool is_noncharacter = (value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe;
  if ((value < kSmallest[more] && !is_zero) || value > 0x10ffff || is_surrogate ||
      is_noncharacter) {
    return kReplacement;
  }
  return value;
}

void append_escape(std::string& text, uint32_t unit) {
  char escape[8];
  std::snprintf(escape, sizeof escape, "\\u%04X", unit);
  text += escape;
}

void append_character(std::string& text, uint32_t value) {
  switch (value) {
    case '"':
      text += "\\\"";
      return;
    case '\\':
      text += "\\\\";
      return;
    case '\b':
      text += "\\b";
      return;
    case '\f':
      text += "\\f";
      return;
    case '\n':
      text += "\\n";
      return;
    case '\r':
      text += "\\r";
      return;
    case '\t':
      text += "\\t";
      return;
    default:
      break;
  }
  if (value >= 0x20 && value < 0x7f) {
    text += static_cast<char>(value);
  } else if (value < 0x10000) {
    append_escape(text, value);
  } else {
    append_escape(text, 0xd800 + ((value - 0x10000) >> 10));
    append_escape(text, 0xdc00 + ((value - 0x10000) & 0x3ff));
  }
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string quoted = "\"";
  while (!text.empty()) append_character(quoted, take_character(text));
  return quoted + '"';
}

}  // namespace byre
