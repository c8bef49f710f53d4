// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/health.h"

#include <fmt/format.h>

#include <cerrno>
#include <new>
#include <utility>

#include "base/assert.h"

namespace byre::qcow2 {

Health::Health(const BlockDevice& file, Phase phase, OnWarning warn)
    : file_(&file), phase_(phase), warn_(std::move(warn)) {}

void Health::set_prepared() {
  BYRE_ASSERT(phase_ == Phase::kFresh);
  phase_ = Phase::kPrepared;
}

void Health::check_not_failed() const {
  if (failure_) throw Error(*failure_);
}

void Health::check_may_write() const {
  check_not_failed();
  if (is_writable()) return;
  throw Error(ErrorKind::kPermission, EACCES,
              ErrorData{.code = "qcow2-open-read-only", .file = file_->filename()},
              "the image is open read-only");
}

void Health::check_not_corrupt() const {
  if (!must_be_marked_corrupt()) return;
  throw Error(ErrorKind::kCorrupt, ENOMEDIUM,
              ErrorData{.code = "qcow2-refuses-requests", .file = file_->filename()},
              "the image refuses requests: it was found corrupt");
}

void Health::check_repaired() const {
  if (phase_ != Phase::kUnrepaired) return;
  throw Error(ErrorKind::kUnsupported, EIO,
              ErrorData{.code = "qcow2-repair-needed",
                        .field = "incompatible_features",
                        .file = file_->filename()},
              "the image was not closed properly and must be repaired before it is written to: its "
              "refcounts may be wrong");
}

void Health::note_failure(const Error& error, Operation operation) {
  const bool is_retried = error.kind() == ErrorKind::kNoSpace && operation == Operation::kWrite;
  if (failure_ || is_retried) return;
  try {
    failure_ = error.with_hint(
        fmt::format("'{}' refuses writes: its metadata could not be written", file_->filename()));
  } catch (const std::bad_alloc&) {
    // The failure itself matters more than the hint; copying it needs no memory.
    failure_ = error;
  }
}

Error Health::report_corruption(ErrorData finding, std::string sentence) {
  const Error error = unreadable(std::move(finding), std::move(sentence));
  if (!is_corrupt_ && is_writable()) {
    has_warned_ = true;
    if (warn_) warn_({WarningKind::kMarkedCorrupt, error});
  } else if (!is_writable()) {
    warn_of(error);
  }
  is_corrupt_ = true;
  return error;
}

void Health::warn_of_corruption(ErrorData finding, std::string sentence) {
  warn_of(unreadable(std::move(finding), std::move(sentence)));
}

void Health::warn(const Warning& warning) const {
  if (warn_) warn_(warning);
}

void Health::warn_of(const Error& problem) {
  if (std::exchange(has_warned_, true) || !warn_) return;
  warn_({WarningKind::kCorrupt, problem});
}

Error Health::unreadable(ErrorData reason, std::string sentence) const {
  reason.file = file_->filename();
  return Error(ErrorKind::kCorrupt, EIO, std::move(reason), std::move(sentence));
}

}  // namespace byre::qcow2
