// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "open/creation_options.h"

// Arguments of `-o`: name=value lists.
namespace byre::cli {

// Splits one option list into names, and values if there was a "=". A comma in a value is doubled;
// a name ends at the first "=" or comma. An empty text has no options.
std::vector<std::pair<std::string, std::optional<std::string>>> split_options(
    std::string_view text);

// Collects one or more `-o`. A comma in a value is doubled. Names are not checked here.
class OptionList {
 public:
  // Adds another `-o`; throws Error("Invalid option list: ...") if it is empty, begins with a
  // comma, or ends with one that is not doubled.
  void add(const std::string& text);
  bool empty() const { return text_.empty(); }
  // Whether "help" or "?" is among the options.
  bool asks_for_help() const;
  // In the order given. A name without "=" has the value "on", or "off" if prefixed with "no".
  std::vector<std::pair<std::string, std::string>> entries() const;

 private:
  std::string text_;
};

// The lines of `-o help`, sorted by name, without a heading.
std::string option_help(std::span<const open::OptionDescription> options);

// Prints the output of `-o help` for a format; with a file name, the list includes the options of
// that file or device. Throws the errors of open::CreationOptions.
void print_option_help(const std::string& format, const std::optional<std::string>& filename);

}  // namespace byre::cli
