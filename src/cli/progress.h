// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/command.h"
#include "jobs/progress.h"

namespace byre::cli {

// How a command shows its progress.
enum class ProgressStyle {
  kNone,  // SIGUSR1 still prints one line on stderr, as in QEMU
  kText,  // -p: QEMU's "    (12.34/100%)\r" on stdout
  kJson,  // --progress=json: one JSON object per line on stderr
};

// "json" or "text"; throws UsageError.
ProgressStyle parse_progress_style(const std::string& text);

// Prints progress while it exists. kText prints 0 when created and the final newline when
// destroyed, so create it where QEMU begins its work: after the arguments have been validated.
// `step_percent` is the smallest change that is printed (convert: 1, compare: 2 in QEMU). Handles
// SIGUSR1 while it exists.
class ProgressPrinter : public Progress {
 public:
  ProgressPrinter(ProgressStyle style, double step_percent);
  ~ProgressPrinter() override;
  void update(uint64_t done, uint64_t total) override;
  bool is_watched() const override { return style_ != ProgressStyle::kNone; }

 private:
  void print();

  const ProgressStyle style_;
  const double step_percent_;
  double percent_ = 0;
  double printed_percent_ = 0;
  uint64_t done_ = 0;
  uint64_t total_ = 0;
};

}  // namespace byre::cli
