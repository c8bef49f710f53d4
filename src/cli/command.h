// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

namespace byre::cli {

// One run of one command: how the command was called.
struct Invocation {
  std::string program;  // "byre", or "qemu-img" or "qemu-io" where it was called by that name
  std::string command;  // "info"
  // The command's own arguments. argv[0] is "<program> <command>", as getopt prints it; the last
  // one is followed by a nullptr that argv.size() does not count.
  std::span<char*> argv;
  // Whether it was called as one of QEMU's programs: then it prints exactly what QEMU prints.
  bool as_qemu() const { return program != "byre"; }
  // Whether the output is the purpose of the command: then it fails if the output cannot be
  // written. A command that created or copied an image has done its work even so.
  bool output_is_result = true;
};

// A command parses its arguments, calls a job and prints. It returns the exit code, or throws:
//
//   byre::Error  printed by print_error(), exit code 1. A command with other exit codes
//                (compare, check) catches what it needs and calls print_error() itself.
//   UsageError   (options.h) the same, followed by the line that points to --help.
//   Exit         (options.h) nothing is printed, its code is returned.
//
// So most commands catch nothing.
using CommandFunction = int (*)(Invocation&);

int run_amend(Invocation& invocation);
int run_bench(Invocation& invocation);
int run_check(Invocation& invocation);
int run_commit(Invocation& invocation);
int run_compare(Invocation& invocation);
int run_convert(Invocation& invocation);
int run_create(Invocation& invocation);
int run_dd(Invocation& invocation);
int run_info(Invocation& invocation);
int run_io(Invocation& invocation);
int run_map(Invocation& invocation);
int run_measure(Invocation& invocation);
int run_rebase(Invocation& invocation);
int run_resize(Invocation& invocation);
int run_snapshot(Invocation& invocation);

// A row of the table in commands.cc. A row without a function is a command of QEMU's that byre
// refuses by name.
struct Command {
  const char* name;
  const char* summary;       // for `--help`
  CommandFunction function;  // nullptr: not implemented yet
  bool in_qemu_img = true;   // qemu-img has it; otherwise only byre does
};
std::span<const Command> commands();
const Command* find_command(const std::string& name);

// The whole program: standard options, the command, errors, exit code.
int run_program(int argc, char** argv);

}  // namespace byre::cli
