// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "byre/error.h"
#include "cli/command.h"

// What goes to stderr. Standard output is flushed before, so that the two stay in order in a
// terminal and in a file that takes both.
namespace byre::cli {

// "<program>: <message>"; called as byre, the hint on a second line, where there is one.
void print_error(const Invocation& invocation, const Error& error);
void print_error(const Invocation& invocation, std::string_view message);
// "<program>: warning: <message>"
void print_warning(const Invocation& invocation, std::string_view message);

// For open::ImageOptions::on_warning: what QEMU prints beside an error, or without one, when it
// opens and reads an image. `invocation` outlives it.
std::function<void(const std::string&)> open_warning_printer(const Invocation& invocation);

// stdout, buffered. `print` takes text as it is, without a format. flush_output() throws Error
// where stdout cannot be written (a full disk, a closed pipe): run_program() calls it at the end,
// so that a result which nobody received is not an exit code 0.
void print(std::string_view text);
void flush_output();

}  // namespace byre::cli
