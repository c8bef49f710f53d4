// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace byre::cli::io {

// A mistake or a failure that is told on standard output, as qemu-io tells most of them: the text,
// without its line end; nothing where it is empty. The command has failed; the next one runs.
struct Refusal {
  std::string text;
  std::string hint = {};  // a second line, only under byre's own name
  bool on_stderr = false;
};

// The command's arguments make no sense: its usage line is printed on standard output.
struct UsageRequest {};

// One line of the shell, split at spaces; nothing quotes a space. getopt walks over its options, so
// these may stand anywhere, `--` ends them, and its messages go to standard error under the
// command's name as it was typed.
class CommandLine {
 public:
  explicit CommandLine(std::string_view line);
  explicit CommandLine(std::vector<std::string> words);
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  bool empty() const { return words_.empty(); }
  // As typed, a short name perhaps.
  const std::string& name() const { return words_[0]; }
  // How many words stand behind the name, options included.
  size_t argument_count() const { return words_.size() - 1; }

  // The next option of `letters` (as for getopt); nothing at their end. Throws UsageRequest for one
  // that is not there or lacks its argument; getopt has said which.
  std::optional<char> next_option(const char* letters);
  // The argument of that option.
  std::string option_argument() const;
  // What stands behind the option that next_option() gave or refused last; after the last one, what
  // is no option.
  const std::vector<std::string>& operands() const { return operands_; }

  // A word by its place, 1 for the first behind the name: for commands without options, and for
  // what qemu-io prints.
  std::string word(size_t index) const { return words_[index]; }

 private:
  std::vector<std::string> words_;
  std::vector<char*> argv_;  // with a nullptr behind the last; getopt moves options to the front
  bool began_ = false;
  std::vector<std::string> operands_;
};

// Parsers of arguments. They throw Refusal in qemu-io's words.

// A size with an optional suffix, at most INT64_MAX. `shown` is what a refusal names; without it,
// the text.
int64_t parse_offset(const std::string& text, const std::optional<std::string>& shown = {});
// A byte, in decimal, hexadecimal (0x) or octal (0).
uint8_t parse_pattern(const std::string& text);

// No request of QEMU's is longer, whatever its alignment: 2 GiB less a sector.
inline constexpr int64_t kRequestMax = 2147483136;
// So many lengths may one vectored request have (the host's IOV_MAX).
inline constexpr size_t kVectorMax = 1024;

// The lengths of a vectored request, each and together at most kRequestMax.
std::vector<uint64_t> parse_lengths(const std::vector<std::string>& texts);

}  // namespace byre::cli::io
