// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/findings.h"

namespace byre::qcow2 {

void Findings::add(const Finding& finding) {
  if (finding.is_repaired) {
    note_repaired(finding.severity, 1);
  } else {
    count(finding.severity, 1);
  }
  if (!is_wanted()) {
    if (!muted_) ++unreported_;
    return;
  }
  ++reported_;
  if (options_->on_finding) options_->on_finding(finding);
}

void Findings::count(Severity severity, uint64_t times) {
  switch (severity) {
    case Severity::kNote:
      break;
    case Severity::kLeak:
      leaks_ += times;
      break;
    case Severity::kCorruption:
      corruptions_ += times;
      break;
    case Severity::kCheckError:
      check_errors_ += times;
      break;
  }
}

void Findings::note_repaired(Severity severity, uint64_t times) {
  if (severity == Severity::kLeak) repaired_leaks_ += times;
  if (severity == Severity::kCorruption) repaired_corruptions_ += times;
}

void Findings::store(CheckResult& result) const {
  result.corruptions = corruptions_;
  result.leaks = leaks_;
  result.check_errors = check_errors_;
  result.findings_unreported = unreported_;
}

}  // namespace byre::qcow2
