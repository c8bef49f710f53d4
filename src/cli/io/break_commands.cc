// SPDX-License-Identifier: Apache-2.0
#include "cli/io/break_commands.h"

#include <cerrno>

#include "byre/error.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void refuse(const std::string& what, int error) {
  throw Refusal{what + ": " + errno_text(error)};
}

}  // namespace

void run_break(Session&, CommandLine&) {
  refuse("Could not set breakpoint", ENOTSUP);
}

void run_remove_break(Session&, CommandLine& line) {
  refuse("Could not remove breakpoint " + line.word(1), ENOTSUP);
}

void run_resume(Session&, CommandLine&) {
  refuse("Could not resume request", ENOTSUP);
}

void run_wait_break(Session&, CommandLine&) {
  // QEMU waits for ever.
  refuse("Could not wait for a request", ENOTSUP);
}

}  // namespace byre::cli::io
