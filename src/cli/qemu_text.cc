// SPDX-License-Identifier: Apache-2.0
#include "cli/qemu_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace byre::cli {
namespace {

// 0 has no "0x" before it.
std::string hexadecimal(uint64_t number) {
  return number == 0 ? "0" : fmt::format("{:#x}", number);
}

std::string decimal(uint64_t number) {
  return std::to_string(number);
}

const QemuText* find(std::span<const QemuText> texts, const Error& error) {
  const auto found = std::ranges::find(texts, error.data().code.view(), &QemuText::code);
  return found == texts.end() ? nullptr : &*found;
}

const QemuText* find_text(const Error& error) {
  for (const auto texts : {qemu_texts_of_qcow2(), qemu_texts_of_devices(), qemu_texts_of_jobs()}) {
    if (const QemuText* const found = find(texts, error)) return found;
  }
  return nullptr;
}

std::string fill(const QemuText& text, const Error& error, std::string (*number)(uint64_t)) {
  const ErrorData& data = error.data();
  const auto value_text = text.value_text != nullptr ? text.value_text : number;
  const std::string value = value_text(data.value.value_or(0));
  const std::string bound = number(data.bound.value_or(0));
  const std::string index = number(data.index.value_or(0));
  const std::string offset = number(data.offset.value_or(0));
  const std::string reason = errno_text(error.errno_value());
  return fmt::format(fmt::runtime(text.pattern), fmt::arg("value", value), fmt::arg("bound", bound),
                     fmt::arg("index", index), fmt::arg("offset", offset),
                     fmt::arg("field", data.field.view()), fmt::arg("name", data.name),
                     fmt::arg("text", data.text), fmt::arg("file", data.file),
                     fmt::arg("errno", reason));
}

// QEMU's words for the sentence; nullopt if it has none.
std::optional<std::string> words(const Error& error) {
  const QemuText* const text = find_text(error);
  if (text != nullptr) return fill(*text, error, decimal);
  if (find(qemu_findings(), error) != nullptr) return errno_text(error.errno_value());
  return words_of_finding(error.data());
}

std::string finding_text(const Error& problem) {
  const QemuText* const text = find(qemu_findings(), problem);
  return text == nullptr ? problem.sentence() : fill(*text, problem, hexadecimal);
}

}  // namespace

std::string qemu_text(const Error& error) {
  const std::optional<std::string> sentence = words(error);
  if (!sentence) return error.message();
  return error.prefix() + *sentence + error.suffix();
}

std::string hint_below(const Error& error) {
  if (!words(error)) return error.hint();
  const std::string& file = error.data().file;
  std::string hint = file.empty() ? error.sentence() : "'" + file + "': " + error.sentence();
  if (!error.hint().empty()) hint += "\n" + error.hint();
  return hint;
}

std::string qemu_text(const Warning& warning) {
  const std::string text = qemu_text(warning.problem);
  switch (warning.kind) {
    case WarningKind::kMarkedCorrupt:
      return "qcow2: Marking image as corrupt: " + finding_text(warning.problem) +
             "; further corruption events will be suppressed\n";
    case WarningKind::kCorrupt:
      return "qcow2: Image is corrupt: " + finding_text(warning.problem) +
             "; further non-fatal corruption events will be suppressed\n";
    case WarningKind::kFormatGuessed:
    case WarningKind::kRepaired:
      return text + "\n";
    case WarningKind::kStaleBitmaps:  // QEMU forgets the line end
      return "warning: " + text;
    case WarningKind::kDeprecatedOption:
    case WarningKind::kBitmapsUnreadable:
    case WarningKind::kSnapshotsUnreadable:
    case WarningKind::kLeaked:
      return "warning: " + text + "\n";
  }
  return text;
}

}  // namespace byre::cli
