// SPDX-License-Identifier: Apache-2.0
#include "cli/option_list.h"

#include <algorithm>
#include <cerrno>

#include "byre/error.h"
#include "cli/messages.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "open/option_list.h"

namespace byre::cli {
namespace {

bool is_valid_list(std::string_view text) {
  if (text.empty() || text.front() == ',') return false;
  const size_t last = text.find_last_not_of(',');
  const size_t commas_at_end = text.size() - 1 - last;
  return commas_at_end % 2 == 0;
}

const char* kind_text(open::OptionKind kind) {
  switch (kind) {
    case open::OptionKind::kString:
      return "str";
    case open::OptionKind::kBool:
      return "bool (on/off)";
    case open::OptionKind::kNumber:
      return "num";
    case open::OptionKind::kSize:
      return "size";
  }
  return "";
}

}  // namespace

std::vector<std::pair<std::string, std::optional<std::string>>> split_options(
    std::string_view text) {
  std::vector<std::pair<std::string, std::optional<std::string>>> options;
  while (!text.empty()) {
    const size_t name_end = std::min(text.find_first_of("=,"), text.size());
    std::string name(text.substr(0, name_end));
    const bool has_value = name_end < text.size() && text[name_end] == '=';
    text.remove_prefix(std::min(name_end + 1, text.size()));
    if (has_value) {
      options.emplace_back(std::move(name), open::take_option_value(text));
    } else {
      options.emplace_back(std::move(name), std::nullopt);
    }
  }
  return options;
}

void OptionList::add(const std::string& text) {
  if (!is_valid_list(text)) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "Invalid option list: " + text);
  }
  if (!text_.empty()) text_ += ',';
  text_ += text;
}

bool OptionList::asks_for_help() const {
  for (const auto& [name, value] : split_options(text_)) {
    if (!value.has_value() && (name == "help" || name == "?")) return true;
  }
  return false;
}

std::vector<std::pair<std::string, std::string>> OptionList::entries() const {
  std::vector<std::pair<std::string, std::string>> entries;
  for (const auto& [name, value] : split_options(text_)) {
    if (value.has_value()) {
      entries.emplace_back(name, *value);
    } else if (name.starts_with("no")) {
      entries.emplace_back(name.substr(2), "off");
    } else {
      entries.emplace_back(name, "on");
    }
  }
  return entries;
}

std::string option_help(std::span<const open::OptionDescription> options) {
  std::vector<const open::OptionDescription*> sorted;
  for (const open::OptionDescription& option : options) {
    if (option.listed) sorted.push_back(&option);
  }
  std::sort(sorted.begin(), sorted.end(), [](const auto* a, const auto* b) {
    return std::string_view(a->name) < std::string_view(b->name);
  });
  std::string text;
  for (const open::OptionDescription* option : sorted) {
    std::string line = "  " + std::string(option->name) + "=<" + kind_text(option->kind) + ">";
    if (line.size() < 24) line.resize(24, ' ');
    text += line + " - " + option->help + "\n";
  }
  return text;
}

void print_option_help(const std::string& format, const std::optional<std::string>& filename) {
  if (filename) {
    const open::CreationOptions options(format, filename);
    print("Supported options:\n" + option_help(options.descriptions()));
    return;
  }
  const open::Driver& driver = open::creatable_driver(format);
  print("Supported " + format + " options:\n" + option_help(driver.creation->options()) +
        "\nThe protocol level may support further options.\n"
        "Specify the target filename to include those options.\n");
}

}  // namespace byre::cli
