// SPDX-License-Identifier: Apache-2.0
#include "cli/io/process_commands.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "cli/io/command_table.h"
#include "cli/messages.h"

namespace byre::cli::io {
namespace {

// Longer times would overflow.
constexpr int64_t kSleepMaxMilliseconds = INT64_MAX / 1'000'000;

Task<void> sleep_for(std::chrono::milliseconds duration) {
  co_await Loop::current().sleep_for(duration);
}

}  // namespace

void run_abort(Session&, CommandLine&) {
  std::abort();
}

void run_help(Session&, CommandLine& line) {
  if (line.argument_count() == 0) {
    for (const Command& command : commands()) print(usage_line(command, command.name));
    print("\nUse 'help commandname' for extended help.\n");
    return;
  }
  const std::string name = line.word(1);
  const Command* const command = find_command(name);
  if (command == nullptr) throw Refusal{"command " + name + " not found"};
  print(usage_line(*command, name) + command->help);
}

void run_quit(Session& session, CommandLine&) {
  session.quit();
}

void run_sigraise(Session&, CommandLine& line) {
  const int64_t number = parse_offset(line.word(1));
  if (number > NSIG) {
    throw Refusal{"signal argument '" + line.word(1) + "' is too large to be a valid signal"};
  }
  // Output must not be lost with the process.
  flush_output();
  raise(static_cast<int>(number));
}

void run_sleep(Session& session, CommandLine& line) {
  const std::string text = line.word(1);
  char* end = nullptr;
  errno = 0;
  const long milliseconds = std::strtol(text.c_str(), &end, 0);
  if (errno != 0 || end == text.c_str() || *end != '\0' || milliseconds < 0 ||
      milliseconds > kSleepMaxMilliseconds) {
    throw Refusal{text + " is not a valid number"};
  }
  session.run(sleep_for(std::chrono::milliseconds(milliseconds)));
}

}  // namespace byre::cli::io
