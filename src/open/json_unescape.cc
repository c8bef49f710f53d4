// SPDX-License-Identifier: Apache-2.0
#include "open/json_unescape.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>

#include "byre/error.h"

namespace byre::open {

namespace {

Error parse_error(const std::string& what) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, "JSON parse error, " + what);
}

bool is_character(uint32_t value) {
  const bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
  const bool is_noncharacter = (value >= 0xfdd0 && value <= 0xfdef) || (value & 0xfffe) == 0xfffe;
  return value <= 0x10ffff && !is_surrogate && !is_noncharacter;
}

void append_utf8(std::string& text, uint32_t value) {
  const auto byte = [&text](uint32_t bits) { text += static_cast<char>(bits); };
  if (value != 0 && value < 0x80) {
    byte(value);
  } else if (value < 0x800) {
    byte(0xc0 | value >> 6);
    byte(0x80 | (value & 0x3f));
  } else if (value < 0x10000) {
    byte(0xe0 | value >> 12);
    byte(0x80 | (value >> 6 & 0x3f));
    byte(0x80 | (value & 0x3f));
  } else {
    byte(0xf0 | value >> 18);
    byte(0x80 | (value >> 12 & 0x3f));
    byte(0x80 | (value >> 6 & 0x3f));
    byte(0x80 | (value & 0x3f));
  }
}

// The length of the character at the start, 0 if it is invalid.
size_t character_length(std::string_view text) {
  const auto first = static_cast<uint8_t>(text.front());
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 && first < 0xf8   ? 4
                        : first >= 0xe0 && first < 0xf0 ? 3
                        : first >= 0xc0 && first < 0xe0 ? 2
                                                        : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t value = first & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    const auto next = static_cast<uint8_t>(text[i]);
    if ((next & 0xc0) != 0x80) return 0;
    value = value << 6 | (next & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  return value >= kSmallest[length] && is_character(value) ? length : 0;
}

class Unescaper {
 public:
  explicit Unescaper(std::string_view text) : text_(text) {}

  std::string run() {
    std::string result;
    while (place_ < text_.size()) {
      if (text_[place_] == '\\') {
        escape(result);
        continue;
      }
      const size_t length = character_length(text_.substr(place_));
      if (length == 0) throw parse_error("invalid UTF-8 sequence in string");
      result += text_.substr(place_, length);
      place_ += length;
    }
    return result;
  }

 private:
  void escape(std::string& result) {
    const size_t start = place_;
    const char letter = place_ + 1 < text_.size() ? text_[place_ + 1] : '\0';
    place_ += 2;
    constexpr std::string_view kLetters = "\"'\\/bfnrt";
    constexpr std::string_view kMeanings = "\"'\\/\b\f\n\r\t";
    const size_t which = kLetters.find(letter);
    if (letter != '\0' && which != std::string_view::npos) {
      result += kMeanings[which];
    } else if (letter == 'u') {
      append_utf8(result, code_point(start));
    } else {
      throw parse_error("invalid escape sequence in string");
    }
  }

  // Four hexadecimal digits.
  std::optional<uint32_t> take_unit() {
    const std::string_view digits = text_.substr(place_, 4);
    uint32_t value = 0;
    const char* const end = digits.data() + digits.size();
    const auto result = std::from_chars(digits.data(), end, value, 16);
    place_ += digits.size();
    if (digits.size() < 4 || result.ptr != end) return std::nullopt;
    return value;
  }

  uint32_t code_point(size_t start) {
    std::optional<uint32_t> value = take_unit();
    const bool is_high = value && *value >= 0xd800 && *value <= 0xdbff;
    if (is_high && text_.substr(place_).starts_with("\\u")) {
      place_ += 2;
      const std::optional<uint32_t> low = take_unit();
      const bool is_low = low && *low >= 0xdc00 && *low <= 0xdfff;
      value = is_low ? std::optional(0x10000 + ((*value & 0x3ff) << 10 | (*low & 0x3ff)))
                     : std::nullopt;
    }
    if (value && is_character(*value)) return *value;
    throw parse_error(
        fmt::format("{} is not a valid Unicode character", text_.substr(start, place_ - start)));
  }

  std::string_view text_;
  size_t place_ = 0;
};

}  // namespace

std::string json_string_value(std::string_view quoted) {
  return Unescaper(quoted.substr(1, quoted.size() - 2)).run();
}

}  // namespace byre::open
