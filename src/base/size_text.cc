// SPDX-License-Identifier: Apache-2.0
#include "base/size_text.h"

#include <charconv>
#include <string>

#include "base/checked.h"
#include "base/real_text.h"

namespace byre {
namespace {

constexpr ParsedSize fault(SizeFault what) {
  return {0, what};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// The power of two of a suffix letter.
std::optional<unsigned> suffix_shift(char letter) {
  switch (letter) {
    case 'b':
    case 'B':
      return 0;
    case 'k':
    case 'K':
      return 10;
    case 'm':
    case 'M':
      return 20;
    case 'g':
    case 'G':
      return 30;
    case 't':
    case 'T':
      return 40;
    case 'p':
    case 'P':
      return 50;
    case 'e':
    case 'E':
      return 60;
    default:
      return std::nullopt;
  }
}

// Removes the digits at the front of `text`. A value above 64 bits is an overflow.
struct Digits {
  uint64_t value = 0;
  bool overflow = false;
  size_t count = 0;
};
Digits take_digits(std::string_view& text, int base) {
  Digits digits;
  uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
  digits.count = static_cast<size_t>(result.ptr - text.data());
  digits.overflow = result.ec == std::errc::result_out_of_range;
  digits.value = digits.overflow ? 0 : value;
  text.remove_prefix(digits.count);
  return digits;
}

// A negative number is out of range if it is a plain whole number, and invalid otherwise.
ParsedSize parse_negative(std::string_view text) {
  const Digits digits = take_digits(text, 10);
  return fault(digits.count > 0 && text.empty() ? SizeFault::kOutOfRange : SizeFault::kNotANumber);
}

ParsedSize parse_hexadecimal(std::string_view text) {
  const Digits digits = take_digits(text, 16);
  if (digits.count == 0 || !text.empty()) return fault(SizeFault::kNotANumber);
  if (digits.overflow) return fault(SizeFault::kOutOfRange);
  return {digits.value, std::nullopt};
}

// Removes the decimal point and the fraction after it from `text`; `count` receives the number of
// its digits.
double take_fraction(std::string_view& text, size_t& count) {
  count = 0;
  if (text.empty() || text.front() != '.') return 0;
  size_t length = 1;
  while (length < text.size() && is_digit(text[length])) ++length;
  count = length - 1;
  const double fraction = parse_real("0" + std::string(text.substr(0, length)));
  text.remove_prefix(length);
  return fraction;
}

ParsedSize parse_decimal(std::string_view text, char default_suffix) {
  const Digits whole = take_digits(text, 10);
  const bool has_point = text.starts_with('.');
  size_t fraction_digits = 0;
  const double fraction = take_fraction(text, fraction_digits);
  if (whole.count == 0 && fraction_digits == 0) return fault(SizeFault::kNotANumber);

  char suffix = default_suffix;
  if (!text.empty()) {
    suffix = text.front();
    text.remove_prefix(1);
  }
  const std::optional<unsigned> shift = suffix_shift(suffix);
  if (!shift.has_value() || !text.empty()) return fault(SizeFault::kNotANumber);
  if (fraction > 0 && *shift == 0) return fault(SizeFault::kNotANumber);  // half a byte
  if (whole.overflow && has_point) return fault(SizeFault::kNotANumber);  // QEMU's wording
  if (whole.overflow) return fault(SizeFault::kOutOfRange);

  const uint64_t unit = uint64_t{1} << *shift;
  const auto part = static_cast<uint64_t>(fraction * static_cast<double>(unit) + 0.5);
  const std::optional<uint64_t> product = checked_mul(whole.value, unit);
  const std::optional<uint64_t> sum = product ? checked_add(*product, part) : std::nullopt;
  if (!sum) return fault(SizeFault::kOutOfRange);
  return {*sum, std::nullopt};
}

}  // namespace

ParsedSize parse_size(std::string_view text, char default_suffix) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  if (text.empty()) return fault(SizeFault::kNotANumber);
  if (text.front() == '-') return parse_negative(text.substr(1));
  if (text.front() == '+') text.remove_prefix(1);
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_hexadecimal(text.substr(2));
  return parse_decimal(text, default_suffix);
}

}  // namespace byre
