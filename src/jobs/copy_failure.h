// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <string_view>

#include "byre/error.h"

namespace byre::jobs {

// The failure with the lowest offset of a copy with concurrent requests.
class CopyFailure {
 public:
  void note(uint64_t offset, std::exception_ptr error) {
    if (error_ && offset >= offset_) return;
    error_ = std::move(error);
    offset_ = offset;
  }
  bool is_set() const { return error_ != nullptr; }
  // Whether something failed before `offset`, so that a copy without concurrency would not have
  // come here.
  bool is_before(uint64_t offset) const { return error_ != nullptr && offset_ < offset; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
  uint64_t offset_ = 0;
};

// "<what> offset <data.offset>: <the device's message>". A cancellation is not changed.
Error failure_at(ErrorData data, std::string_view what, const Error& error);

// The same failure with another code, for which QEMU has other words. A cancellation is not changed.
Error failure_as(Literal code, const Error& error);

}  // namespace byre::jobs
