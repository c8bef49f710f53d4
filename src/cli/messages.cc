// SPDX-License-Identifier: Apache-2.0
#include "cli/messages.h"

#include <cerrno>
#include <cstdio>
#include <string>

#include "cli/qemu_text.h"

namespace byre::cli {
namespace {

// Of the first output that failed; 0: none did.
int g_output_error = 0;

void note_output_error() {
  if (g_output_error == 0) g_output_error = errno != 0 ? errno : EIO;
}

// In one call, so that lines of several programs on one terminal do not mix.
void write_to_stderr(const std::string& text) {
  write_out();
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace

void print_error(const Invocation& invocation, const Error& error) {
  std::string text = invocation.program + ": " + qemu_text(error) + "\n";
  for (const Error& other : error.more())
    text += invocation.program + ": " + qemu_text(other) + "\n";
  const std::string hint = invocation.as_qemu() ? std::string() : hint_below(error);
  if (!hint.empty()) text += hint + "\n";
  write_to_stderr(text);
}

void print_error(const Invocation& invocation, std::string_view message) {
  write_to_stderr(invocation.program + ": " + std::string(message) + "\n");
}

void print_warning(const Invocation& invocation, std::string_view message) {
  write_to_stderr(invocation.program + ": warning: " + std::string(message) + "\n");
}

OnWarning open_warning_printer(const Invocation& invocation) {
  return [&invocation](const Warning& warning) {
    const std::string text = qemu_text(warning);
    std::string shown = text.starts_with("warning: ") ? invocation.program + ": " + text : text;
    // QEMU prints one of its warnings without a line end.
    if (!invocation.as_qemu() && !shown.ends_with('\n')) shown += '\n';
    write_to_stderr(shown);
  };
}

void print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) < text.size()) note_output_error();
}

void write_out() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) note_output_error();
}

void flush_output() {
  write_out();
  // A reader that went away has received what it wanted.
  if (g_output_error == 0 || g_output_error == EPIPE) return;
  throw Error::from_errno(g_output_error, "Could not write to standard output");
}

}  // namespace byre::cli
