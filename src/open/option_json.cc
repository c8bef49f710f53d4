// SPDX-License-Identifier: Apache-2.0
#include "open/option_json.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <set>
#include <span>
#include <string>
#include <utility>

#include "base/real_text.h"
#include "byre/error.h"
#include "open/json_token.h"
#include "open/json_unescape.h"

namespace byre::open {

namespace {

constexpr std::string_view kPrefix = "json:";
// A bound on all names together, as deep names are repeated for each member.
constexpr size_t kNamesSizeMax = 16 << 20;

Error parse_error(const std::string& what) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, "JSON parse error, " + what);
}

OptionNumber real_of(std::string_view text) {
  return {fmt::format("{:.17g}", parse_real(std::string(text)))};
}

// As in QEMU: a signed or unsigned integer if it fits, else a floating-point number.
OptionNumber integer_of(std::string_view text) {
  const char* const end = text.data() + text.size();
  int64_t value = 0;
  if (std::from_chars(text.data(), end, value).ec == std::errc()) return {std::to_string(value)};
  uint64_t natural = 0;
  if (text.front() != '-' && std::from_chars(text.data(), end, natural).ec == std::errc()) {
    return {std::to_string(natural)};
  }
  return real_of(text);
}

// Walks over the tokens and records the options under dotted names.
class Parser {
 public:
  explicit Parser(std::span<const JsonToken> tokens) : tokens_(tokens) {}

  OptionTree parse() {
    const bool is_object = !tokens_.empty() && tokens_.front().is('{');
    value("", 0);
    if (!is_object) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL, "Invalid JSON object given");
    }
    return std::move(tree_);
  }

 private:
  const JsonToken& take() {
    if (place_ == tokens_.size()) throw parse_error("premature EOI");
    return tokens_[place_++];
  }
  bool next_is(char punctuation) const {
    return place_ < tokens_.size() && tokens_[place_].is(punctuation);
  }

  // A nested name takes precedence over the same name written with dots, as in QEMU.
  void put(const std::string& name, OptionValue value, int depth) {
    names_size_ += name.size();
    if (names_size_ > kNamesSizeMax) throw parse_error("the names are too long in total");
    if (depth > 1) {
      tree_.set(name, std::move(value));
    } else if (depth == 1) {
      tree_.set_default(name, std::move(value));
    }
  }

  // The depth is bounded by json_tokens().
  void value(const std::string& name, int depth) {
    const JsonToken& token = take();
    switch (token.kind) {
      case JsonToken::Kind::kPunctuation:
        if (token.is('{')) return object(name, depth);
        if (token.is('[')) return list(name, depth);
        throw parse_error("expecting value");
      case JsonToken::Kind::kString:
        return put(name, json_string_value(token.text), depth);
      case JsonToken::Kind::kInteger:
        return put(name, integer_of(token.text), depth);
      case JsonToken::Kind::kFloat:
        return put(name, real_of(token.text), depth);
      case JsonToken::Kind::kKeyword:
        return keyword(name, token.text, depth);
    }
  }

  void keyword(const std::string& name, std::string_view text, int depth) {
    if (text == "true") return put(name, true, depth);
    if (text == "false") return put(name, false, depth);
    if (text == "null") return put(name, nullptr, depth);
    throw parse_error(fmt::format("invalid keyword '{}'", text));
  }

  static std::string join(const std::string& name, const std::string& part, int depth) {
    return depth == 0 ? part : name + "." + part;
  }

  // After a member or item: whether another one follows.
  bool goes_on(char end, const char* what) {
    const JsonToken& token = take();
    if (token.is(end)) return false;
    if (!token.is(',')) throw parse_error(fmt::format("expected separator in {}", what));
    return true;
  }

  void object(const std::string& name, int depth) {
    if (next_is('}')) {
      take();
      return put(name, EmptyGroup{}, depth);
    }
    std::set<std::string> keys;
    do {
      const std::string key = take_key();
      if (!take().is(':')) throw parse_error("missing : in object pair");
      if (!keys.insert(key).second) throw parse_error("duplicate key");
      value(join(name, key, depth), depth + 1);
    } while (goes_on('}', "dict"));
  }

  std::string take_key() {
    const JsonToken& token = take();
    if (token.kind == JsonToken::Kind::kString) return json_string_value(token.text);
    // A complete value that is not a string is reported as such; an incomplete one is reported
    // first.
    --place_;
    Parser rest(tokens_.subspan(place_));
    rest.value("", 0);
    throw parse_error("key is not a string in object");
  }

  void list(const std::string& name, int depth) {
    if (next_is(']')) {
      take();
      return put(name, EmptyGroup{}, depth);
    }
    size_t index = 0;
    do {
      value(join(name, std::to_string(index++), depth), depth + 1);
    } while (goes_on(']', "list"));
  }

  std::span<const JsonToken> tokens_;
  size_t place_ = 0;
  size_t names_size_ = 0;
  OptionTree tree_;
};

}  // namespace

OptionTree parse_option_json(std::string_view text) {
  const std::vector<JsonToken> tokens = json_tokens(text);
  return Parser(tokens).parse();
}

std::optional<OptionTree> parse_json_name(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view text = name.substr(kPrefix.size());
  try {
    return parse_option_json(text);
  } catch (const Error& error) {
    if (error.message() == "Invalid JSON object given") throw;
    throw error.with_prefix("Could not parse the JSON options");
  }
}

}  // namespace byre::open
