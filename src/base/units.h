// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace byre {

inline constexpr uint64_t kKiB = uint64_t{1} << 10;
inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kGiB = uint64_t{1} << 30;
inline constexpr uint64_t kTiB = uint64_t{1} << 40;
inline constexpr uint64_t kSectorSize = 512;

}  // namespace byre
