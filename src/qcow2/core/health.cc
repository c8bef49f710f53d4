// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/health.h"

#include <fmt/format.h>

#include <cerrno>
#include <new>
#include <utility>

#include "base/assert.h"

namespace byre::qcow2 {

Health::Health(const BlockDevice& file, Phase phase, Warn warn)
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
              fmt::format("Image '{}' is open read-only", file_->filename()));
}

void Health::check_not_corrupt() const {
  if (!must_be_marked_corrupt()) return;
  throw Error(ErrorKind::kCorrupt, ENOMEDIUM, errno_text(ENOMEDIUM),
              fmt::format("'{}' refuses requests: it was found corrupt", file_->filename()));
}

void Health::check_repaired() const {
  if (phase_ != Phase::kUnrepaired) return;
  throw Error(ErrorKind::kUnsupported, EIO,
              fmt::format("Image '{}' was not closed properly and must be repaired before it is "
                          "written to",
                          file_->filename()),
              "its refcounts may be wrong; see the dirty bit of incompatible_features");
}

void Health::note_failure(const Error& error, Operation operation) {
  const bool is_retried = error.kind() == ErrorKind::kNoSpace && operation == Operation::kWrite;
  if (failure_ || is_retried) return;
  try {
    failure_ = Error(
        error.kind(), error.errno_value(), error.message(),
        fmt::format("'{}' refuses writes: its metadata could not be written", file_->filename()));
  } catch (const std::bad_alloc&) {
    // The failure itself matters more than its text.
    failure_.emplace(error.kind(), error.errno_value(), "");
  }
}

Error Health::report_corruption(const std::string& finding) {
  const Error error(ErrorKind::kCorrupt, EIO, errno_text(EIO),
                    fmt::format("'{}' is corrupt: {}", file_->filename(), finding));
  if (!is_corrupt_ && is_writable()) {
    has_warned_ = true;
    if (warn_) {
      warn_(fmt::format(
          "qcow2: Marking image as corrupt: {}; further corruption events will be suppressed\n",
          finding));
    }
  } else if (!is_writable()) {
    warn_of_corruption(finding);
  }
  is_corrupt_ = true;
  return error;
}

void Health::warn_of_corruption(const std::string& finding) {
  if (std::exchange(has_warned_, true) || !warn_) return;
  warn_(fmt::format(
      "qcow2: Image is corrupt: {}; further non-fatal corruption events will be suppressed\n",
      finding));
}

Error Health::unreadable(const std::string& reason) const {
  return Error(ErrorKind::kCorrupt, EIO, errno_text(EIO),
               fmt::format("'{}': {}", file_->filename(), reason));
}

}  // namespace byre::qcow2
