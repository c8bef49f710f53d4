// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace byre::cli {

// What `byre COMMAND --help` shows after the command's summary.
struct CommandHelp {
  const char* name;
  const char* usage;         // after "byre <name> "
  const char* options;       // QEMU's options, one line each
  const char* byre_options;  // those that QEMU does not have
};
// nullptr: no such command, or one that byre does not have.
const CommandHelp* find_command_help(const std::string& command);

}  // namespace byre::cli
