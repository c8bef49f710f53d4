// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

// The output of `--help`. The options are QEMU's, the wording is byre's.
namespace byre::cli {

void print_program_help(const Invocation& invocation);
void print_command_help(const Invocation& invocation);
// "Try '<program> <command> --help' for more info", on stderr.
void print_usage_pointer(const Invocation& invocation);

// "qemu-img version 10.0.2 (byre 0.1.0)" or "byre version 0.1.0", and a line that describes the
// program.
void print_version(const Invocation& invocation);

}  // namespace byre::cli
