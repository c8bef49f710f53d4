// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "cli/io/command_line.h"
#include "cli/io/session.h"

namespace byre::cli::io {

// A command of the shell. `run` throws Refusal, UsageRequest or byre::Error if it fails; the caller
// prints them, and the next command still runs.
struct Command {
  const char* name;
  const char* short_name;  // nullptr: none
  void (*run)(Session&, CommandLine&);
  size_t arguments_min;  // options and their arguments count, too
  size_t arguments_max;  // kAny: unlimited
  bool needs_image;
  bool writes;            // refused before it begins if the image is read-only
  const char* arguments;  // for help; nullptr: none
  const char* summary;
  const char* help;  // after the summary; "": no further help
};
inline constexpr size_t kAny = SIZE_MAX;

// Sorted by name, as `help` lists them.
std::span<const Command> commands();
// By its name or its short name; nullptr: no such command.
const Command* find_command(const std::string& name);

// "read [-abCqrv] ... off len -- reads a number of bytes at a specified offset", with a line end,
// under the given name.
std::string usage_line(const Command& command, const std::string& name);

}  // namespace byre::cli::io
