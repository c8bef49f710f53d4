// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "qcow2/check/check.h"

namespace byre::qcow2 {

// Counts what a checker finds, and passes it on as long as the caller wants more.
class Findings {
 public:
  explicit Findings(const CheckOptions* options) : options_(options) {}

  void add(const Finding& finding);
  // Counts the same finding this many times more without reporting it.
  void count(Severity severity, uint64_t times);

  // Counts findings that have been repaired; add() does it if Finding::is_repaired is set.
  void note_repaired(Severity severity, uint64_t times);

  // Whether the caller wants more findings.
  bool is_wanted() const { return !muted_ && reported_ < options_->findings_max; }
  // While muted, findings are counted but not reported: they have been reported before.
  void set_muted(bool muted) { muted_ = muted; }
  // Of all severities except notes.
  uint64_t total() const { return corruptions_ + leaks_ + check_errors_; }
  uint64_t corruptions() const { return corruptions_; }
  uint64_t leaks() const { return leaks_; }
  uint64_t check_errors() const { return check_errors_; }
  uint64_t repaired_corruptions() const { return repaired_corruptions_; }
  uint64_t repaired_leaks() const { return repaired_leaks_; }
  void store(CheckResult& result) const;

 private:
  const CheckOptions* options_;
  uint64_t corruptions_ = 0;
  uint64_t leaks_ = 0;
  uint64_t check_errors_ = 0;
  uint64_t repaired_corruptions_ = 0;
  uint64_t repaired_leaks_ = 0;
  uint64_t reported_ = 0;
  uint64_t unreported_ = 0;
  bool muted_ = false;
};

}  // namespace byre::qcow2
