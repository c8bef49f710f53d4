// SPDX-License-Identifier: Apache-2.0
#include "open/option_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "byre/error.h"
#include "open/open.h"

namespace byre::open {

namespace {

bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// A word without "=": its name and value, with a warning about the omitted value.
std::pair<std::string, std::string> from_flag(const std::string& word,
                                              std::vector<std::string>& warnings) {
  if (word == "help" || word == "?") return {word, "on"};
  const bool is_off = word.starts_with("no");
  const std::string name = is_off ? word.substr(2) : word;
  const char* const value = is_off ? "off" : "on";
  warnings.push_back(fmt::format(
      "short-form boolean option '{}' deprecated\nPlease use {}={} instead", word, name, value));
  return {name, value};
}

}  // namespace

std::string take_option_value(std::string_view& text) {
  std::string value;
  while (!text.empty()) {
    if (text.front() == ',') {
      text.remove_prefix(1);
      if (text.empty() || text.front() != ',') break;
    }
    value += text.front();
    text.remove_prefix(1);
  }
  return value;
}

bool is_well_formed_id(std::string_view text) {
  if (text.empty() || !is_letter(text.front())) return false;
  return std::ranges::all_of(
      text, [](char c) { return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_'; });
}

OptionTree parse_option_list(std::string_view text, std::vector<std::string>& warnings) {
  OptionTree tree;
  bool is_first = true;
  while (!text.empty()) {
    const size_t name_end = std::min(text.find_first_of("=,"), text.size());
    const bool has_value = name_end < text.size() && text[name_end] == '=';
    if (has_value) {
      std::string name(text.substr(0, name_end));
      text.remove_prefix(name_end + 1);
      std::string value = take_option_value(text);
      tree.set(std::move(name), std::move(value));
    } else if (is_first) {
      std::string value = take_option_value(text);
      tree.set("file", std::move(value));
    } else {
      const std::string word(text.substr(0, name_end));
      text.remove_prefix(std::min(name_end + 1, text.size()));
      auto [name, value] = from_flag(word, warnings);
      tree.set(std::move(name), std::move(value));
    }
    is_first = false;
  }
  const std::optional<std::string> id = tree.find_string("id");
  if (id && !is_well_formed_id(*id)) throw Error(ErrorKind::kInvalidArgument, EINVAL, kBadId);
  return tree;
}

void use_option_list(const std::string& text, ImageOptions& options,
                     const std::function<void(const std::string&)>& on_warning) {
  if (options.format) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "--image-opts and --format are mutually exclusive");
  }
  std::vector<std::string> warnings;
  options.tree = parse_option_list(text, warnings);
  options.name_is_tree = true;
  for (const std::string& warning : warnings) {
    if (on_warning) on_warning(warning);
  }
  if (!options.force_share) return;
  const auto force_share = options.tree.find_string("force-share");
  if (force_share && *force_share != "on") {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "--force-share/-U conflicts with image options");
  }
}

}  // namespace byre::open
