// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace byre::storage {

// How a file's data is cached on its way to the disk; the names and meanings are QEMU's
// (`-t` and `-T` of qemu-img).
//
//                  host page cache   a write is done when        flush
//   kWriteback     yes               the page cache has it       fdatasync
//   kWritethrough  yes               it is durable               (done already)
//   kNone          no (O_DIRECT)     the disk has it             fdatasync
//   kDirectsync    no (O_DIRECT)     it is durable               (done already)
//   kUnsafe        yes               the page cache has it       nothing: a power cut may lose all
enum class CacheMode { kNone, kWriteback, kWritethrough, kDirectsync, kUnsafe };

// Parses QEMU's name ("none", "off", "writeback", "writethrough", "directsync", "unsafe"); nothing
// for any other.
std::optional<CacheMode> parse_cache_mode(std::string_view name);
const char* cache_mode_name(CacheMode mode);

constexpr bool is_direct(CacheMode mode) {
  return mode == CacheMode::kNone || mode == CacheMode::kDirectsync;
}
constexpr bool is_write_through(CacheMode mode) {
  return mode == CacheMode::kWritethrough || mode == CacheMode::kDirectsync;
}

}  // namespace byre::storage
