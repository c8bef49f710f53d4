// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "qcow2/create.h"

// The values of `-o`: name=value lists for the target's format.
namespace byre::cli {

// Collects one or more `-o`. A comma in a value is written as two. Names are not checked here.
class OptionList {
 public:
  // Another `-o`; throws Error("Invalid option list: ...") for one that is empty or begins or ends
  // with a single comma.
  void add(const std::string& text);
  bool empty() const { return text_.empty(); }
  // Whether "help" or "?" stands among the options.
  bool asks_for_help() const;
  // In the order given; a name without "=" has the value "on", "no..." forms have "off", as in QEMU.
  std::vector<std::pair<std::string, std::string>> entries() const;

 private:
  std::string text_;
};

// What a new image of either format shall be, as the command line says it. What was not said is empty or
// QEMU's default.
struct TargetOptions {
  std::string format = "raw";
  qcow2::CreateOptions qcow2;   // size, backing and data file included; also used for raw: size, preallocation
  bool has_size = false;        // size= was given
  bool nocow = false;
  std::optional<uint64_t> extent_size_hint;
  bool has_preallocation = false;
};

// Throws Error in QEMU's words: unknown format, unknown option for the format, value of the wrong kind.
// `format_known` is checked first: "Unknown file format 'x'".
TargetOptions parse_target_options(const std::string& format, const OptionList& list);

// Whether byre writes this format; throws Error("Unknown file format '<x>'") otherwise.
void require_target_format(const std::string& format);

// Prints the list that `-o help` shows. `with_protocol`: a target file was named, so its own options
// are in the list.
void print_option_help(const std::string& format, bool with_protocol);

}  // namespace byre::cli
