// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace byre::open {

// The pieces of a JSON text in QEMU's dialect: strings in double or single quotes, and otherwise
// RFC 8259.
struct JsonToken {
  enum class Kind : uint8_t { kPunctuation, kString, kInteger, kFloat, kKeyword };
  Kind kind;
  std::string_view text;  // with quotes
  bool is(char punctuation) const { return kind == Kind::kPunctuation && text[0] == punctuation; }
};

// The tokens of the one value that `text` is. Throws Error in QEMU's words for what is no token
// ("stray"), for no value or several, and for more than 1024 open brackets; whether the tokens make
// sense together is the parser's business.
std::vector<JsonToken> json_tokens(std::string_view text);

}  // namespace byre::open
