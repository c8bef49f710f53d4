// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <string_view>

#include "byre/error.h"

namespace byre::jobs {

// Of the failures of a copy with several requests at a time, the one with the lowest offset.
class CopyFailure {
 public:
  void note(uint64_t offset, std::exception_ptr error) {
    if (error_ && offset >= offset_) return;
    error_ = std::move(error);
    offset_ = offset;
  }
  bool is_set() const { return error_ != nullptr; }
  // Whether something failed before `offset`, so that a copy without concurrency had not come here.
  bool is_before(uint64_t offset) const { return error_ != nullptr && offset_ < offset; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::exception_ptr error_;
  uint64_t offset_ = 0;
};

// "<what><offset>: <reason>", the reason being the errno's text, as in QEMU; what the device said
// goes into the hint. A cancellation stays as it is.
Error failure_at(std::string_view what, uint64_t offset, const Error& error,
                 std::string_view whose = {});

}  // namespace byre::jobs
