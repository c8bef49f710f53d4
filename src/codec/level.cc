// SPDX-License-Identifier: Apache-2.0
#include "codec/level.h"

#include <array>

#include "codec/backends.h"

// The table that docs/compression.md documents.
namespace byre::codec {
namespace {

enum class Library : uint8_t { kIsal, kLibdeflate, kZlib };

struct DeflateLevel {
  Library library;
  int level;
};

constexpr size_t kLevels = kSmallestLevel - kFastestLevel + 1;
// Levels from here on are slow enough for a scout to pay off.
constexpr int kFirstScoutedLevel = 4;

#if BYRE_WITH_ISAL && BYRE_WITH_LIBDEFLATE
constexpr std::array<DeflateLevel, kLevels> kDeflateLevels{{{Library::kIsal, 1},
                                                            {Library::kIsal, 3},
                                                            {Library::kLibdeflate, 1},
                                                            {Library::kLibdeflate, 2},
                                                            {Library::kLibdeflate, 5},
                                                            {Library::kLibdeflate, 6},
                                                            {Library::kLibdeflate, 8},
                                                            {Library::kLibdeflate, 10},
                                                            {Library::kLibdeflate, 12}}};
#elif BYRE_WITH_LIBDEFLATE
constexpr std::array<DeflateLevel, kLevels> kDeflateLevels{{{Library::kLibdeflate, 1},
                                                            {Library::kLibdeflate, 2},
                                                            {Library::kLibdeflate, 3},
                                                            {Library::kLibdeflate, 4},
                                                            {Library::kLibdeflate, 5},
                                                            {Library::kLibdeflate, 6},
                                                            {Library::kLibdeflate, 8},
                                                            {Library::kLibdeflate, 10},
                                                            {Library::kLibdeflate, 12}}};
#elif BYRE_WITH_ISAL
constexpr std::array<DeflateLevel, kLevels> kDeflateLevels{{{Library::kIsal, 1},
                                                            {Library::kIsal, 3},
                                                            {Library::kZlib, 2},
                                                            {Library::kZlib, 3},
                                                            {Library::kZlib, 4},
                                                            {Library::kZlib, 5},
                                                            {Library::kZlib, 6},
                                                            {Library::kZlib, 8},
                                                            {Library::kZlib, 9}}};
#else
constexpr std::array<DeflateLevel, kLevels> kDeflateLevels{{{Library::kZlib, 1},
                                                            {Library::kZlib, 2},
                                                            {Library::kZlib, 3},
                                                            {Library::kZlib, 4},
                                                            {Library::kZlib, 5},
                                                            {Library::kZlib, 6},
                                                            {Library::kZlib, 7},
                                                            {Library::kZlib, 8},
                                                            {Library::kZlib, 9}}};
#endif

#if BYRE_WITH_ISAL
// The replacement for a level of ISA-L on a machine without it, the same as in a build without it.
DeflateLevel without_isal(DeflateLevel level) {
  const Library library = BYRE_WITH_LIBDEFLATE != 0 ? Library::kLibdeflate : Library::kZlib;
  return {library, (level.level + 1) / 2};
}
#endif

std::unique_ptr<Compressor> make_deflate_compressor(DeflateLevel level) {
  switch (level.library) {
#if BYRE_WITH_ISAL
    case Library::kIsal:
      if (!isal_is_there()) return make_deflate_compressor(without_isal(level));
      return make_isal_compressor(level.level);
#endif
#if BYRE_WITH_LIBDEFLATE
    case Library::kLibdeflate:
      return make_libdeflate_compressor(level.level);
#endif
    default:
      return make_zlib_compressor(level.level);
  }
}

// For one repeated byte, ISA-L's level 3 and zlib's lower levels produce several times as much
// output as others that are no slower on it.
std::unique_ptr<Compressor> make_finisher(DeflateLevel level) {
#if BYRE_WITH_ISAL
  if (level.library == Library::kIsal) {
    return level.level > 1 && isal_is_there() ? make_isal_compressor(1) : nullptr;
  }
#endif
  const bool is_low = level.library == Library::kZlib && level.level < 6;
  return is_low ? make_zlib_compressor(6) : nullptr;
}

#if BYRE_WITH_ZSTD
constexpr std::array<int, kLevels> kZstdLevels{1, 3, 5, 6, 7, 9, 10, 14, 19};
#endif

}  // namespace

LevelParts parts_of(CompressionType type, int level) {
  const auto index = static_cast<size_t>(level - kFastestLevel);
  const bool is_scouted = level >= kFirstScoutedLevel;
  LevelParts parts;
#if BYRE_WITH_ZSTD
  if (type == CompressionType::kZstd) {
    parts.main = make_zstd_compressor(kZstdLevels[index]);
    if (is_scouted) parts.scout = make_zstd_compressor(kZstdLevels[1]);
    return parts;
  }
#else
  static_cast<void>(type);
#endif
  parts.main = make_deflate_compressor(kDeflateLevels[index]);
  parts.finisher = make_finisher(kDeflateLevels[index]);
  if (is_scouted) parts.scout = make_deflate_compressor(kDeflateLevels[1]);
  return parts;
}

}  // namespace byre::codec
