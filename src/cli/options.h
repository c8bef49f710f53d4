// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <getopt.h>

#include "byre/error.h"
#include "cli/command.h"
#include "cli/objects.h"
#include "storage/cache_mode.h"

namespace byre::cli {

// Ends the command with this exit code; everything that had to be printed has been printed.
struct Exit {
  int code;
};

// A mistake in the arguments: "<program>: <message>", then "Try '<program> <command> --help' for
// more info", exit code 1. QEMU prints the second line for some mistakes and not for others; those
// without it are plain byre::Error.
class UsageError : public Error {
 public:
  explicit UsageError(std::string message);
};

// Values of options without a letter start here.
inline constexpr int kLongOnly = 256;

// One long option. The order of a command's table is visible in getopt's "ambiguous;
// possibilities".
struct LongOption {
  const char* name;
  int value;  // the letter, or kLongOnly + n
  bool takes_argument = false;
};

// Iterates over a command's arguments, like getopt_long (abbreviations, `--`, options after names),
// with its messages and QEMU's exit code. Usage:
//
//   OptionReader options(invocation, "hf:bU", {{"help", 'h'}, {"format", 'f', true}, ...});
//   while (const auto option = options.next()) { switch (*option) { case 'f': ... } }
//   for (const std::string& name : options.names()) ...
//
// next() itself handles 'h' (prints the command's help, throws Exit{0}), an invalid option (prints,
// throws Exit{1}), and kObject (see objects.h). Commands list these in their tables and do not
// handle them.
inline constexpr int kObject = 1000;
inline constexpr int kImageOpts = 1001;
inline constexpr int kTargetImageOpts = 1002;

class OptionReader {
 public:
  OptionReader(Invocation& invocation, const char* letters, const std::vector<LongOption>& longs);

  std::optional<int> next();
  // The argument of the option that next() returned, or the operand.
  std::string argument() const;
  // What next() returns for an argument that is not an option, if `letters` begin with "-".
  static constexpr int kOperand = 1;
  // The argument that next() would look at; empty if there is none.
  std::string peek() const;
  // The same; next() then skips it.
  std::string take();
  // The arguments that are not options, in order; valid once next() has returned nothing.
  std::vector<std::string> names() const;
  // The command's only image; UsageError if there is none or more than one.
  std::string only_name() const;

 private:
  Invocation& invocation_;
  std::string letters_;
  std::vector<option> longs_;
  Objects objects_;
};

// Arguments that are common to several commands. Throw UsageError or Error with QEMU's message.
enum class OutputFormat { kHuman, kJson };
OutputFormat parse_output_format(const std::string& text);  // --output=

// A cache mode by QEMU's name; throws Error "Invalid <what>: <text>".
storage::CacheMode parse_cache_option(const char* what, const std::string& text);

// "byre does not support <what> yet", with the same wording everywhere.
[[noreturn]] void refuse_unsupported(const std::string& what);

}  // namespace byre::cli
