// SPDX-License-Identifier: Apache-2.0
// From the process's arguments to one command, and from its exceptions to an exit code.
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

#include "cli/command.h"
#include "cli/help.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/standard_streams.h"
#include "cli/trace.h"

namespace byre::cli {
namespace {

// The name by which the program was called only determines whose messages it uses, and for qemu-io
// which command runs; any name but QEMU's is byre.
std::string program_name(const char* called_as) {
  if (called_as == nullptr) return "byre";
  const char* slash = std::strrchr(called_as, '/');
  const std::string name = slash != nullptr ? slash + 1 : called_as;
  return name == "qemu-img" || name == "qemu-io" ? name : "byre";
}

// Options before the command. Returns the index of the command's name in argv.
int read_standard_options(Invocation& invocation, int argc, char** argv) {
  static const option kLongs[] = {{"help", no_argument, nullptr, 'h'},
                                  {"version", no_argument, nullptr, 'V'},
                                  {"trace", required_argument, nullptr, 'T'},
                                  {nullptr, 0, nullptr, 0}};
  argv[0] = invocation.program.data();  // getopt prints it
  optind = 0;                           // glibc: start over
  for (;;) {
    switch (getopt_long(argc, argv, "+hVT:", kLongs, nullptr)) {
      case -1:
        return optind;
      case 'h':
        print_program_help(invocation);
        throw Exit{0};
      case 'V':
        print_version(invocation);
        throw Exit{0};
      case 'T':
        apply_trace_option(invocation, optarg);
        break;
      default:
        print_usage_pointer(invocation);
        throw Exit{1};
    }
  }
}

// qemu-io is one command of byre's.
int run_as_qemu_io(Invocation& invocation, int argc, char** argv) {
  invocation.command = "io";
  argv[0] = invocation.program.data();
  invocation.argv = std::span(argv, static_cast<size_t>(argc));
  return run_io(invocation);
}

int dispatch(Invocation& invocation, int argc, char** argv) {
  if (invocation.program == "qemu-io") return run_as_qemu_io(invocation, argc, argv);
  const int first = read_standard_options(invocation, argc, argv);
  if (first >= argc) throw UsageError("Not enough arguments");
  const Command* command = find_command(argv[first]);
  if (command == nullptr || (invocation.as_qemu() && !command->in_qemu_img)) {
    throw UsageError("Command not found: " + std::string(argv[first]));
  }

  invocation.command = command->name;
  if (command->function == nullptr) refuse_unsupported("the command '" + invocation.command + "'");
  std::string shown_name = invocation.program + " " + invocation.command;
  argv[first] = shown_name.data();
  invocation.argv = std::span(argv + first, static_cast<size_t>(argc - first));
  return command->function(invocation);
}

int run_reporting_errors(Invocation& invocation, int argc, char** argv) {
  try {
    return dispatch(invocation, argc, argv);
  } catch (const Exit& exit) {
    return exit.code;
  } catch (const UsageError& error) {
    print_error(invocation, error);
    print_usage_pointer(invocation);
  } catch (const Error& error) {
    // A job that was asked to stop has nothing to report.
    if (error.kind() != ErrorKind::kCancelled || received_signal() == 0)
      print_error(invocation, error);
  } catch (const std::bad_alloc&) {
    print_error(invocation, errno_text(ENOMEM));
  }
  return 1;
}

}  // namespace

int run_program(int argc, char** argv) {
  if (!open_standard_streams()) return 1;
  // A reader that goes away is an error of a write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  // A request for progress, as one sends it to dd: commands that show progress handle it.
  std::signal(SIGUSR1, SIG_IGN);
  Invocation invocation;
  invocation.program = program_name(argc > 0 ? argv[0] : nullptr);
  if (argc == 0) return 1;
  int code = run_reporting_errors(invocation, argc, argv);
  try {
    flush_output();
  } catch (const Error& error) {
    if (invocation.output_is_result) {
      print_error(invocation, error);
      if (code == 0) code = 1;
    }
  }
  die_from_received_signal();
  return code;
}

}  // namespace byre::cli
