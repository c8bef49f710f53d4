// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "byre/error.h"
#include "byre/warning.h"
#include "cli/command.h"

// Output to stderr. Standard output is flushed before, so that the two stay in order on a terminal
// and in a file that receives both.
namespace byre::cli {

// "<program>: <QEMU's text>"; called as byre, below it also byre's own sentence, if it is another
// one, and the hint.
void print_error(const Invocation& invocation, const Error& error);
void print_error(const Invocation& invocation, std::string_view message);
// "<program>: warning: <message>"
void print_warning(const Invocation& invocation, std::string_view message);

// For open::ImageOptions::on_warning. `invocation` outlives it.
OnWarning open_warning_printer(const Invocation& invocation);

// Buffered output to stdout. `print` prints text literally, without a format; write_out() writes
// what is buffered. Neither reports a failure, but flush_output() does, with the error of the first
// one (a full disk); that a reader has closed its pipe is none. run_program() calls it at the end,
// so that a result that could not be written does not give exit code 0.
void print(std::string_view text);
void write_out();
void flush_output();

}  // namespace byre::cli
