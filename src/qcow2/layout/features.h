// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

// The three feature bitmaps of a version 3 header (specification: "incompatible_features" and on),
// and the header extension that names their bits ("Feature name table").
namespace byre::qcow2::layout {

namespace incompatible {
inline constexpr uint64_t kDirty = uint64_t{1} << 0;
inline constexpr uint64_t kCorrupt = uint64_t{1} << 1;
inline constexpr uint64_t kExternalDataFile = uint64_t{1} << 2;
inline constexpr uint64_t kCompressionType = uint64_t{1} << 3;
inline constexpr uint64_t kExtendedL2 = uint64_t{1} << 4;
inline constexpr uint64_t kKnown =
    kDirty | kCorrupt | kExternalDataFile | kCompressionType | kExtendedL2;
}  // namespace incompatible

namespace compatible {
inline constexpr uint64_t kLazyRefcounts = uint64_t{1} << 0;
inline constexpr uint64_t kKnown = kLazyRefcounts;
}  // namespace compatible

namespace autoclear {
inline constexpr uint64_t kBitmaps = uint64_t{1} << 0;
inline constexpr uint64_t kRawExternalData = uint64_t{1} << 1;
inline constexpr uint64_t kKnown = kBitmaps | kRawExternalData;
}  // namespace autoclear

enum class FeatureType : uint8_t { kIncompatible = 0, kCompatible = 1, kAutoclear = 2 };

// One entry of a feature name table. `type` and `bit` are as in the image: a type above 2 or a bit
// above 63 names nothing and is kept.
struct FeatureName {
  uint8_t type = 0;
  uint8_t bit = 0;
  std::string name;  // at most 46 bytes; ends at the first zero byte
  bool operator==(const FeatureName&) const = default;
};

// The table that byre writes into a new image: every feature it knows, with QEMU's names and order.
const std::vector<FeatureName>& known_feature_names();

// Entries of 48 bytes; the last one may be shorter, but has its type and bit.
std::vector<FeatureName> parse_feature_names(ConstBytes data);
// REQUIRES: no name is longer than 46 bytes (parse gives none).
std::vector<uint8_t> encode_feature_names(const std::vector<FeatureName>& names);

// The names of unknown incompatible bits as QEMU lists them after "Unsupported qcow2 feature(s): ":
// in the order of the image's own table, then the bits without a name, in hexadecimal.
std::string feature_list(uint64_t unknown_incompatible, const std::vector<FeatureName>& names);

}  // namespace byre::qcow2::layout
