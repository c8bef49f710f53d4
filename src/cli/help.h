// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

// What `--help` prints. The options are QEMU's, the words are byre's.
namespace byre::cli {

void print_program_help(const Invocation& invocation);
void print_command_help(const Invocation& invocation);
// "Try '<program> <command> --help' for more info", on stderr.
void print_usage_pointer(const Invocation& invocation);

// "qemu-img version 10.0.2 (byre 0.1.0)" or "byre version 0.1.0", and a line that says what it is.
void print_version(const Invocation& invocation);

}  // namespace byre::cli
