// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/command_help.h"
#include "cli/messages.h"
#include "open/driver.h"

namespace byre::cli {
namespace {

// The names of the drivers for which `is_wanted`, sorted, each after a space.
template <class IsWanted>
std::string names_of_drivers(IsWanted is_wanted) {
  std::vector<std::string> names;
  for (const open::Driver* driver : open::drivers()) {
    if (is_wanted(*driver)) names.emplace_back(driver->name);
  }
  std::ranges::sort(names);
  std::string text;
  for (const std::string& name : names) text += " " + name;
  return text;
}

std::string supported_formats(const Invocation& invocation) {
  if (invocation.as_qemu()) {
    // Scripts search for these lines, as printed by QEMU 10 and earlier, to find the formats.
    const std::string all = names_of_drivers([](const open::Driver&) { return true; });
    return "Supported image formats:\n\n " + all + "\n\nSupported formats:" + all + "\n";
  }
  const auto is_format = [](const open::Driver& driver) {
    return !driver.is_protocol && !driver.is_filter;
  };
  const auto is_other = [is_format](const open::Driver& driver) { return !is_format(driver); };
  return "Formats:" + names_of_drivers(is_format) +
         "\nProtocols and filters:" + names_of_drivers(is_other) + "\n";
}

}  // namespace

void print_program_help(const Invocation& invocation) {
  print_version(invocation);
  const std::string& program = invocation.program;
  std::string text =
      "\nUsage: " + program + " [-T TRACE] COMMAND [OPTIONS]\n       " + program +
      " --help | --version\n\n"
      "  -h, --help         show this help and exit; after COMMAND: show its options\n"
      "  -V, --version      show the version and exit\n"
      "  -T, --trace TRACE  ignored with a warning; byre has no trace points\n\n"
      "Commands:\n";
  for (const Command& command : commands()) {
    if (invocation.as_qemu() && !command.in_qemu_img) continue;
    std::string line = "  " + std::string(command.name);
    line.resize(12, ' ');
    text += line + command.summary + (command.function == nullptr ? " (not implemented yet)" : "") +
            "\n";
  }
  print(text + "\n" + supported_formats(invocation));
}

void print_command_help(const Invocation& invocation) {
  const Command* command = find_command(invocation.command);
  const CommandHelp* help = find_command_help(invocation.command);
  std::string text;
  if (command != nullptr) text += std::string(command->summary) + ".\n\n";
  if (help != nullptr) {
    text += "Usage: " + invocation.program + " " + invocation.command + " " + help->usage + "\n\n";
    text += help->options;
    if (!invocation.as_qemu()) text += help->byre_options;
  }
  print(text);
}

void print_usage_pointer(const Invocation& invocation) {
  write_out();
  std::string called = invocation.program;
  if (!invocation.command.empty()) called += " " + invocation.command;
  const std::string line = "Try '" + called + " --help' for more info\n";
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace byre::cli
