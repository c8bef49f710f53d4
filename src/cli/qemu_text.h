// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "byre/error.h"
#include "byre/warning.h"
#include "jobs/check.h"

// QEMU's messages for what byre refuses or warns of. Only the commands print them.
namespace byre::cli {

// A row of a table: QEMU's text for the errors with this code. `{field}`, `{value}`, `{bound}`,
// `{index}`, `{offset}`, `{text}`, `{name}` and `{file}` stand for the error's data, `{errno}` for
// the text of its errno.
struct QemuText {
  std::string_view code;
  std::string_view pattern;
  // How QEMU prints the value; nullptr: as the other numbers.
  std::string (*value_text)(uint64_t value) = nullptr;
};
// Of errors, with decimal numbers.
std::span<const QemuText> qemu_texts_of_qcow2();
std::span<const QemuText> qemu_texts_of_devices();
std::span<const QemuText> qemu_texts_of_jobs();
// Of findings of a check; the patterns give the numbers' format.
std::span<const QemuText> qemu_texts_of_findings();
// Of findings that make an image corrupt, with hexadecimal numbers. QEMU has these texts only in
// warnings; the error of the same code has nothing but the text of its errno.
std::span<const QemuText> qemu_findings();

// The error's message with QEMU's words for its sentence, if QEMU has the same refusal; otherwise the
// message as it is.
std::string qemu_text(const Error& error);
// What byre adds on further lines: its own sentence, if qemu_text() does not have it already, and
// the hint. May be empty.
std::string hint_below(const Error& error);

// With its line end, if QEMU prints one. A text that begins with "warning: " is printed after the
// program's name.
std::string qemu_text(const Warning& warning);

// QEMU's words for what a finding says; nothing if it has none.
std::optional<std::string> words_of_finding(const ErrorData& data);
// With its line end; empty if nothing is to be printed.
std::string qemu_text(const jobs::Finding& finding, std::string_view program);

}  // namespace byre::cli
