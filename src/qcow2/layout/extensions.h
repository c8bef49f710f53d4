// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "byre/error.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/features.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2::layout {

// Specification: "Header extensions".
namespace extension_type {
inline constexpr uint32_t kEnd = 0;
inline constexpr uint32_t kBackingFormat = 0xe2792aca;
inline constexpr uint32_t kFeatureNames = 0x6803f857;
inline constexpr uint32_t kBitmaps = 0x23852875;
inline constexpr uint32_t kCryptoHeader = 0x0537be77;
inline constexpr uint32_t kDataFile = 0x44415441;
}  // namespace extension_type

// "Full disk encryption header pointer".
struct CryptoHeader {
  HostOffset offset;
  uint64_t length = 0;  // bytes
  bool operator==(const CryptoHeader&) const = default;
};

// An extension that byre does not know: kept byte for byte when the header is rewritten.
struct UnknownExtension {
  uint32_t type = 0;
  std::vector<uint8_t> data;
  bool operator==(const UnknownExtension&) const = default;
};

// The extensions between the header and the end of the first cluster, or the backing file name if
// that comes first. A second extension of a known type replaces the first, as in QEMU.
struct Extensions {
  std::optional<std::string> backing_format;  // both names up to a zero byte
  std::optional<std::string> data_file_name;
  std::optional<CryptoHeader> crypto_header;
  std::optional<std::vector<FeatureName>> feature_names;
  // Also absent if the image has the extension but its autoclear bit is not set: the specification
  // calls such data inconsistent. `stale_bitmaps` is then true.
  std::optional<BitmapsExtension> bitmaps;
  bool stale_bitmaps = false;
  std::vector<UnknownExtension> unknown;  // in the image's order

  bool operator==(const Extensions&) const = default;

  // `first_cluster` as for Header::parse. Throws Error(kCorrupt or kUnsupported) with
  // field and value.
  static Extensions parse(ConstBytes first_cluster, const Header& header);

  // The bytes from header_length on, end marker included, a multiple of 8. Order, as QEMU writes
  // them: backing format, external data file name, crypto header, feature names, bitmaps, unknown
  // extensions.
  std::vector<uint8_t> encode() const;
};

// The warning that QEMU prints for an image with stale_bitmaps.
Error stale_bitmaps_problem(const Header& header);

// The image's names for its feature bits, as far as they can be read, for the message that refuses
// an image whose other extensions may be damaged. Does not throw.
std::vector<FeatureName> readable_feature_names(ConstBytes first_cluster, const Header& header);

// An extension as stored in the first cluster, undecoded.
struct RawExtension {
  uint32_t type = 0;
  ConstBytes data;  // without padding
};

// Walks over the extensions up to the end marker, the backing file name, or the end of the cluster.
//
//   ExtensionWalker walker(first_cluster, header);
//   while (const std::optional<RawExtension> extension = walker.next()) ...
class ExtensionWalker {
 public:
  ExtensionWalker(ConstBytes first_cluster, const Header& header);
  // nullopt at the end. Throws Error(kCorrupt) if a length exceeds the area.
  std::optional<RawExtension> next();

 private:
  ConstBytes area_;  // what is left
};

}  // namespace byre::qcow2::layout
