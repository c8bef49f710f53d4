// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "block/buffer.h"

namespace byre::cli::io {

// What a write writes by default.
inline constexpr uint8_t kDefaultPattern = 0xcd;

// Memory for a request of `length` bytes, which may be 0.
Buffer make_buffer(uint64_t length);
// `length` bytes that are all `pattern`.
Buffer pattern_payload(uint64_t length, uint8_t pattern);
// `length` bytes from the start of a file, repeated if the file is shorter. Throws Refusal.
Buffer file_payload(uint64_t length, const std::string& filename);

// Whether all of them are `pattern`.
bool is_all(ConstBytes bytes, uint8_t pattern);

}  // namespace byre::cli::io
