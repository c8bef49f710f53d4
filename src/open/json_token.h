// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace byre::open {

// The tokens of a JSON text in QEMU's dialect: strings in double or single quotes, and otherwise
// RFC 8259.
struct JsonToken {
  enum class Kind : uint8_t { kPunctuation, kString, kInteger, kFloat, kKeyword };
  Kind kind;
  std::string_view text;  // including quotes
  bool is(char punctuation) const { return kind == Kind::kPunctuation && text[0] == punctuation; }
};

// The tokens of `text`, which is a single value. Throws Error with QEMU's message for an invalid
// token ("stray"), for no value or several, and for more than 1024 open brackets; whether the
// tokens form a valid value is up to the parser.
std::vector<JsonToken> json_tokens(std::string_view text);

}  // namespace byre::open
