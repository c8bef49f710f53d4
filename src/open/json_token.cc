// SPDX-License-Identifier: Apache-2.0
#include "open/json_token.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "byre/error.h"
#include "open/invalid_argument.h"

namespace byre::open {

namespace {

constexpr int kDepthMax = 1024;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  bool at_end() {
    while (place_ < text_.size() && is_space(text_[place_])) ++place_;
    return place_ == text_.size();
  }
  // REQUIRES: at_end() is false.
  JsonToken next() {
    start_ = place_;
    const char first = text_[place_];
    if (std::string_view("{}[],:").find(first) != std::string_view::npos) {
      ++place_;
      return token(JsonToken::Kind::kPunctuation);
    }
    if (first == '"' || first == '\'') return string(first);
    if (first == '-' || is_digit(first)) return number();
    if (!is_lower(first)) fail();
    while (is_lower(peek())) ++place_;
    return token(JsonToken::Kind::kKeyword);
  }

 private:
  char peek() const { return place_ < text_.size() ? text_[place_] : '\0'; }
  JsonToken token(JsonToken::Kind kind) const {
    return {kind, text_.substr(start_, place_ - start_)};
  }
  // The text from here on is not a valid token.
  [[noreturn]] void fail() const {
    const size_t length = std::min(place_ + 1, text_.size()) - start_;
    throw invalid_argument(
        fmt::format("JSON parse error, stray '{}'", text_.substr(start_, length)));
  }

  JsonToken string(char quote) {
    ++place_;
    while (true) {
      const auto byte = static_cast<uint8_t>(peek());
      if (byte < 0x20 || byte > 0xfd) fail();
      ++place_;
      if (byte == static_cast<uint8_t>(quote)) return token(JsonToken::Kind::kString);
      if (byte != '\\') continue;
      const auto escaped = static_cast<uint8_t>(peek());
      if (escaped < 0x20 || escaped > 0xfd) fail();
      ++place_;
    }
  }

  void digits() {
    if (!is_digit(peek())) fail();
    while (is_digit(peek())) ++place_;
  }
  JsonToken number() {
    if (peek() == '-') ++place_;
    if (peek() == '0') {
      ++place_;
      if (is_digit(peek())) fail();
    } else {
      digits();
    }
    bool is_float = false;
    if (peek() == '.') {
      is_float = true;
      ++place_;
      digits();
    }
    if (peek() == 'e' || peek() == 'E') {
      is_float = true;
      ++place_;
      if (peek() == '+' || peek() == '-') ++place_;
      digits();
    }
    return token(is_float ? JsonToken::Kind::kFloat : JsonToken::Kind::kInteger);
  }

  std::string_view text_;
  size_t place_ = 0;
  size_t start_ = 0;
};

// Tracks the brackets: a value ends when none is open.
class Depth {
 public:
  void follow(const JsonToken& token) {
    if (token.is('{')) ++braces_;
    if (token.is('}')) --braces_;
    if (token.is('[')) ++brackets_;
    if (token.is(']')) --brackets_;
    if (braces_ + brackets_ > kDepthMax)
      throw invalid_argument("JSON nesting depth limit exceeded");
  }
  bool is_closed() const {
    return braces_ < 0 || brackets_ < 0 || (braces_ == 0 && brackets_ == 0);
  }

 private:
  int braces_ = 0;
  int brackets_ = 0;
};

}  // namespace

std::vector<JsonToken> json_tokens(std::string_view text) {
  Lexer lexer(text);
  std::vector<JsonToken> tokens;
  Depth depth;
  while (!lexer.at_end()) {
    if (!tokens.empty() && depth.is_closed())
      throw invalid_argument("Expecting at most one JSON value");
    tokens.push_back(lexer.next());
    depth.follow(tokens.back());
  }
  if (tokens.empty()) throw invalid_argument("Expecting a JSON value");
  return tokens;
}

}  // namespace byre::open
