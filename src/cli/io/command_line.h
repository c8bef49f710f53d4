// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace byre::cli::io {

// A mistake or a failure that is reported on standard output, like most of qemu-io's: the text,
// without its line end; nothing is printed if it is empty. The command has failed; the next one
// runs.
struct Refusal {
  std::string text;
  std::string hint = {};  // a second line, only under the name byre
  bool on_stderr = false;
};

// The command's arguments are invalid: its usage line is printed on standard output.
struct UsageRequest {};

// One line of the shell, split at spaces, which cannot be quoted. getopt parses its options, so
// these may be anywhere, `--` ends them, and its messages go to standard error under the command's
// name as typed.
class CommandLine {
 public:
  explicit CommandLine(std::string_view line);
  explicit CommandLine(std::vector<std::string> words);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  bool empty() const { return words_.empty(); }
  // As typed, perhaps a short name.
  const std::string& name() const { return words_[0]; }
  // The number of words after the name, including options.
  size_t argument_count() const { return words_.size() - 1; }

  // The next option of `letters` (as for getopt); nothing at the end. Throws UsageRequest for an
  // unknown one or one without its argument; getopt has reported which.
  std::optional<char> next_option(const char* letters);
  // The argument of that option.
  std::string option_argument() const;
  // The words after the option that next_option() returned or refused last; after the last one,
  // those that are not options.
  const std::vector<std::string>& operands() const { return operands_; }

  // A word by its index, 1 for the first after the name: for commands without options, and for what
  // qemu-io prints.
  std::string word(size_t index) const { return words_[index]; }

 private:
  std::vector<std::string> words_;
  std::vector<char*> argv_;  // with a nullptr at the end; getopt moves options to the front
  bool began_ = false;
  std::vector<std::string> operands_;
};

// Parsers of arguments. They throw Refusal with qemu-io's message.

// A size with an optional suffix, at most INT64_MAX. `shown` is the text for messages; by default
// `text`.
int64_t parse_offset(const std::string& text, const std::optional<std::string>& shown = {});
// A byte, in decimal, hexadecimal (0x) or octal (0).
uint8_t parse_pattern(const std::string& text);

// The maximum length of QEMU's requests, whatever their alignment: 2 GiB less a sector.
inline constexpr int64_t kRequestMax = 2147483136;
// The maximum number of lengths of one vectored request (the host's IOV_MAX).
inline constexpr size_t kVectorMax = 1024;

// The lengths of a vectored request; each of them and their sum are at most kRequestMax.
std::vector<uint64_t> parse_lengths(const std::vector<std::string>& texts);

}  // namespace byre::cli::io
