// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/size_text.h"

// Sizes in human-readable form, with QEMU's rules.
namespace byre::cli {

// An argument that must be in [min, max], as parse_size() reads it; throws Error with QEMU's
// message: "Invalid <what> specified: '<text>'." and what follows it, on one or two lines. `what`
// is "image size", "block size", ...
uint64_t parse_size_argument(std::string_view what, const std::string& text, uint64_t min = 0,
                             uint64_t max = INT64_MAX);

// "196 KiB", "1.5 GiB", "512 B": QEMU's human-readable sizes.
std::string human_size(uint64_t bytes);

}  // namespace byre::cli
