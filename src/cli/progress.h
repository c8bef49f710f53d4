// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/command.h"
#include "jobs/progress.h"

namespace byre::cli {

// How a command shows how far it is.
enum class ProgressStyle {
  kNone,  // nothing by itself; SIGUSR1 prints one line on stderr, as QEMU does
  kText,  // -p: QEMU's "    (12.34/100%)\r" on stdout
  kJson,  // --progress=json: one JSON object a line on stderr
};

// "json" or "text"; throws UsageError.
ProgressStyle parse_progress_style(const std::string& text);

// Prints while it lives. kText prints 0 when made and the final newline when destroyed, so make it
// where QEMU begins to work: after the arguments were found sound. `step_percent` is the least
// change that is printed (convert: 1, compare: 2 in QEMU). Takes SIGUSR1 while it lives.
class ProgressPrinter : public Progress {
 public:
  ProgressPrinter(ProgressStyle style, double step_percent);
  ~ProgressPrinter() override;
  void update(uint64_t done, uint64_t total) override;

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
