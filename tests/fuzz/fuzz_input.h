// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace byre::fuzz {

// The fuzzer's bytes, consumed from the front; zeroes once they are used up.
class FuzzInput {
 public:
  explicit FuzzInput(ConstBytes bytes) : bytes_(bytes) {}

  bool is_empty() const { return bytes_.empty(); }
  ConstBytes rest() const { return bytes_; }
  uint8_t byte() {
    if (bytes_.empty()) return 0;
    const uint8_t first = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return first;
  }
  uint16_t word() {
    const uint16_t high = byte();
    return static_cast<uint16_t>(high << 8 | byte());
  }

 private:
  ConstBytes bytes_;
};

}  // namespace byre::fuzz
