// SPDX-License-Identifier: Apache-2.0
#include "storage/cache_mode.h"

namespace byre::storage {

std::optional<CacheMode> parse_cache_mode(std::string_view name) {
  if (name == "none" || name == "off") return CacheMode::kNone;
  if (name == "writeback") return CacheMode::kWriteback;
  if (name == "writethrough") return CacheMode::kWritethrough;
  if (name == "directsync") return CacheMode::kDirectsync;
  if (name == "unsafe") return CacheMode::kUnsafe;
  return std::nullopt;
}

const char* cache_mode_name(CacheMode mode) {
  switch (mode) {
    case CacheMode::kNone:
      return "none";
    case CacheMode::kWriteback:
      return "writeback";
    case CacheMode::kWritethrough:
      return "writethrough";
    case CacheMode::kDirectsync:
      return "directsync";
    case CacheMode::kUnsafe:
      return "unsafe";
  }
  return "?";
}

}  // namespace byre::storage
