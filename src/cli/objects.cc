// SPDX-License-Identifier: Apache-2.0
#include "cli/objects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string_view>

#include "byre/error.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "open/invalid_argument.h"
#include "open/option_json.h"
#include "open/option_list.h"
#include "open/option_tree.h"
#include "storage/text_file.h"

namespace byre::cli {
namespace {

using open::OptionTree;

constexpr std::array<std::string_view, 4> kSecretProperties{"data", "file", "format", "keyid"};

void print_kinds() {
  print("List of user creatable objects:\n  secret\n");
}

void print_secret_help() {
  print(
      "secret options:\n"
      "  data=<string>\n"
      "  file=<string>\n"
      "  format=<QCryptoSecretFormat>\n"
      "  iv=<string>\n"
      "  keyid=<string>\n");
}

bool is_name(std::string_view part) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  return !part.empty() && std::ranges::all_of(part, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

void check_name(const std::string& name) {
  std::string_view rest = name;
  while (true) {
    const size_t dot = std::min(rest.find('.'), rest.size());
    if (!is_name(rest.substr(0, dot)))
      throw open::invalid_argument("Invalid parameter '" + name + "'");
    if (dot == rest.size()) return;
    rest.remove_prefix(dot + 1);
  }
}

// "kind,name=value,...": each name with a value; a comma in a value is doubled. `wants_help`:
// "help" was among them.
OptionTree parse_list(std::string_view text, bool& wants_help) {
  OptionTree tree;
  bool is_first = true;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("=,"), text.size());
    const bool has_value = end < text.size() && text[end] == '=';
    const std::string word(text.substr(0, end));
    if (!has_value && (word == "help" || word == "?")) {
      wants_help = true;
      text.remove_prefix(std::min(end + 1, text.size()));
    } else if (!has_value && is_first && !word.empty()) {
      tree.set("qom-type", open::take_option_value(text));
    } else {
      check_name(word);
      if (!has_value) throw open::invalid_argument("Expected '=' after parameter '" + word + "'");
      text.remove_prefix(end + 1);
      tree.set(word, open::take_option_value(text));
    }
    is_first = false;
  }
  return tree;
}

// A property that must be a string; other JSON types are refused.
std::optional<std::string> take_property(OptionTree& tree, const std::string& name) {
  const open::OptionValue* const value = tree.find(name);
  if (value == nullptr) return std::nullopt;
  if (!std::holds_alternative<std::string>(*value)) {
    throw open::invalid_argument("Invalid parameter type for '" + name + "', expected: string");
  }
  return tree.take_text(name);
}

// Whether the file of a secret can be read; with GLib's messages.
void check_readable(const std::string& file) {
  std::optional<Error> failure;
  try {
    uint8_t byte = 0;
    storage::read_front(file, Bytes(&byte, 1));
    return;
  } catch (const Error& error) {
    failure = error;
  }
  const int reason = failure->errno_value();
  throw Error(
      failure->kind(), reason,
      fmt::format("Unable to read {0}: {1} file \u201c{0}\u201d: {2}", file,
                  reason == EISDIR ? "Error reading" : "Failed to open", errno_text(reason)));
}

void check_secret(OptionTree& tree) {
  std::array<std::optional<std::string>, kSecretProperties.size()> values;
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = take_property(tree, std::string(kSecretProperties[i]));
  }
  take_property(tree, "iv");
  const auto& [data, file, format, key] = values;
  if (format && *format != "raw" && *format != "base64") {
    throw open::invalid_argument("Parameter 'format' does not accept value '" + *format + "'");
  }
  if (!tree.empty()) {
    throw open::invalid_argument("Parameter '" + tree.entries().begin()->first + "' is unexpected");
  }
  if (data && file) throw open::invalid_argument("'file' and 'data' are mutually exclusive");
  if (!data && !file) throw open::invalid_argument("Either 'file' or 'data' must be provided");
  if (file) check_readable(*file);
  if (key) throw open::invalid_argument("No secret with id '" + *key + "'");
}

}  // namespace

void Objects::add(const std::string& text, const Invocation&) {
  bool wants_help = false;
  OptionTree tree =
      text.starts_with('{') ? open::parse_option_json(text) : parse_list(text, wants_help);
  const auto kind = take_property(tree, "qom-type");
  if (wants_help) {
    if (kind == "secret") {
      print_secret_help();
    } else {
      print_kinds();
    }
    throw Exit{0};
  }
  if (!kind) throw open::invalid_argument("Parameter 'qom-type' is missing");
  if (*kind != "secret") {
    throw open::invalid_argument("Parameter 'qom-type' does not accept value '" + *kind + "'");
  }
  const auto id = take_property(tree, "id");
  if (!id) throw open::invalid_argument("Parameter 'id' is missing");
  if (!open::is_well_formed_id(*id)) throw open::invalid_argument(open::kBadId);
  check_secret(tree);
  if (!ids_.insert(*id).second) {
    throw open::invalid_argument("attempt to add duplicate property '" + *id +
                                 "' to object (type 'container')");
  }
}

}  // namespace byre::cli
