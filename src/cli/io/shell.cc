// SPDX-License-Identifier: Apache-2.0
#include "cli/io/shell.h"

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <new>

#include "async/worker_pool.h"
#include "cli/io/command_table.h"
#include "cli/messages.h"

namespace byre::cli::io {
namespace {

std::optional<std::string> read_line_now(std::FILE* input) {
  char* memory = nullptr;
  size_t capacity = 0;
  const ssize_t length = getline(&memory, &capacity, input);
  const std::unique_ptr<char, decltype(&std::free)> line(memory, &std::free);
  if (length < 0) return std::nullopt;
  std::string text(line.get());  // up to its first zero byte
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

void tell_on_stderr(const std::string& line) {
  write_out();
  std::fputs((line + "\n").c_str(), stderr);
}

std::string expected_count(const Command& command) {
  const std::string min = std::to_string(command.arguments_min);
  if (command.arguments_max == kAny) return "at least " + min + " arguments";
  if (command.arguments_max == command.arguments_min) return min + " arguments";
  return "between " + min + " and " + std::to_string(command.arguments_max) + " arguments";
}

// Checks that can be made before the command begins; prints nothing if they pass.
bool may_run(const Session& session, const Command& command, const CommandLine& line) {
  if (command.needs_image && !session.is_open()) {
    tell_on_stderr("no file open, try 'help open'");
    return false;
  }
  const size_t count = line.argument_count();
  if (count < command.arguments_min || count > command.arguments_max) {
    tell_on_stderr("bad argument count " + std::to_string(count) + " to " + line.name() +
                   ", expected " + expected_count(command));
    return false;
  }
  if (command.writes && session.device().is_read_only()) {
    print_error(session.invocation(), "Block node is read-only");
    return false;
  }
  return true;
}

void tell(const Session& session, const Refusal& refusal) {
  if (refusal.on_stderr) {
    tell_on_stderr(refusal.text);
  } else if (!refusal.text.empty()) {
    print(refusal.text + "\n");
  }
  if (!session.invocation().as_qemu() && !refusal.hint.empty()) print(refusal.hint + "\n");
}

}  // namespace

bool run_line(Session& session, const std::string& text) {
  CommandLine line(text);
  if (line.empty()) return true;
  const Command* const command = find_command(line.name());
  if (command == nullptr) {
    tell_on_stderr("command \"" + line.name() + "\" not found");
    return false;
  }
  if (!may_run(session, *command, line)) return false;
  try {
    command->run(session, line);
    return true;
  } catch (const Refusal& refusal) {
    tell(session, refusal);
  } catch (const UsageRequest&) {
    print(usage_line(*command, command->name));
  } catch (const Error& error) {
    print_error(session.invocation(), error);
  } catch (const std::bad_alloc&) {
    print_error(session.invocation(), errno_text(ENOMEM));
  }
  return false;
}

Task<std::optional<std::string>> read_line(std::FILE* input) {
  const auto read = [input] { return read_line_now(input); };
  co_return co_await WorkerPool::shared().run(read);
}

bool run_lines(Session& session, const std::vector<std::string>& lines) {
  bool all_succeeded = true;
  for (const std::string& line : lines) {
    if (session.quits()) break;
    if (!run_line(session, line)) all_succeeded = false;
  }
  return all_succeeded;
}

bool run_input(Session& session, std::FILE* input) {
  bool all_succeeded = true;
  while (!session.quits()) {
    print(session.invocation().program + "> ");
    write_out();
    const std::optional<std::string> line = session.run(read_line(input));
    if (!line.has_value()) break;
    if (!run_line(session, *line)) all_succeeded = false;
  }
  return all_succeeded;
}

}  // namespace byre::cli::io
