// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/extensions.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "base/checked.h"
#include "qcow2/layout/text.h"

namespace byre::qcow2::layout {
namespace {

constexpr size_t kExtensionHeaderSize = 8;  // type, length
constexpr size_t kCryptoHeaderSize = 16;

[[noreturn]] void corrupt(std::string message, std::string hint) {
  throw Error(ErrorKind::kCorrupt, EINVAL, std::move(message), std::move(hint));
}

// The end of the extensions. The backing file name may start inside the header; QEMU then sees no
// extensions.
uint64_t area_end(const Header& header) {
  return header.has_backing_file() ? std::min(header.backing_file_offset, header.cluster_size())
                                   : header.cluster_size();
}

std::string parse_backing_format(ConstBytes data) {
  if (data.size() > limits::kBackingFormatSizeMax) {
    corrupt(fmt::format("ERROR: ext_backing_format: len={} too large (>={})", data.size(),
                        limits::kBackingFormatSizeMax + 1),
            "header extension backing file format");
  }
  return text_of(data);
}

CryptoHeader parse_crypto_header(ConstBytes data, const Header& header) {
  if (header.crypt_method != CryptMethod::kLuks) {
    corrupt("CRYPTO header extension only expected with LUKS encryption method",
            fmt::format("crypt_method is {}", static_cast<uint32_t>(header.crypt_method)));
  }
  if (data.size() != kCryptoHeaderSize) {
    corrupt(fmt::format("CRYPTO header extension size {}, but expected size {}", data.size(),
                        kCryptoHeaderSize),
            "header extension full disk encryption header pointer");
  }
  const CryptoHeader crypto{HostOffset(load_big_endian<uint64_t>(data.data())),
                            load_big_endian<uint64_t>(data.data() + 8)};
  if (!is_aligned(crypto.offset.value(), header.cluster_size())) {
    corrupt(fmt::format("Encryption header offset '{}' is not a multiple of cluster size '{}'",
                        crypto.offset.value(), header.cluster_size()),
            "header extension full disk encryption header pointer");
  }
  return crypto;
}

void parse_bitmaps(ConstBytes data, const Header& header, Extensions& extensions) {
  if (data.size() != BitmapsExtension::kSize) {
    corrupt("bitmaps_ext: Invalid extension length",
            fmt::format("the length is {}, not {}", data.size(), BitmapsExtension::kSize));
  }
  // Version 2 has no autoclear features, so nothing guarantees that its bitmaps are consistent.
  extensions.stale_bitmaps = !(header.autoclear_features & autoclear::kBitmaps);
  if (!extensions.stale_bitmaps) {
    extensions.bitmaps = BitmapsExtension::parse(data, header.cluster_size());
  }
}

void parse_one(const RawExtension& raw, const Header& header, Extensions& extensions) {
  switch (raw.type) {
    case extension_type::kBackingFormat:
      extensions.backing_format = parse_backing_format(raw.data);
      return;
    case extension_type::kFeatureNames:
      extensions.feature_names = parse_feature_names(raw.data);
      return;
    case extension_type::kCryptoHeader:
      extensions.crypto_header = parse_crypto_header(raw.data, header);
      return;
    case extension_type::kBitmaps:
      parse_bitmaps(raw.data, header, extensions);
      return;
    case extension_type::kDataFile:
      extensions.data_file_name = text_of(raw.data);
      return;
    default:
      extensions.unknown.push_back({raw.type, {raw.data.begin(), raw.data.end()}});
  }
}

void append(std::vector<uint8_t>& bytes, uint32_t type, ConstBytes data) {
  const size_t at = bytes.size();
  bytes.resize(at + kExtensionHeaderSize + align_up(data.size(), 8));
  store_big_endian(bytes.data() + at, type);
  store_big_endian(bytes.data() + at + 4, static_cast<uint32_t>(data.size()));
  std::copy(data.begin(), data.end(), bytes.begin() + at + kExtensionHeaderSize);
}

void append(std::vector<uint8_t>& bytes, uint32_t type, const std::string& text) {
  append(bytes, type, ConstBytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace

ExtensionWalker::ExtensionWalker(ConstBytes first_cluster, const Header& header) {
  BYRE_ASSERT(first_cluster.size() >= header.cluster_size());
  const uint64_t end = area_end(header);
  if (end > header.header_length) {
    area_ = first_cluster.subspan(header.header_length, end - header.header_length);
  }
}

std::optional<RawExtension> ExtensionWalker::next() {
  if (area_.empty()) return std::nullopt;
  const size_t room = area_.size();
  const bool has_header = room >= kExtensionHeaderSize;
  const uint32_t type = has_header ? load_big_endian<uint32_t>(area_.data()) : 0;
  const uint32_t size = has_header ? load_big_endian<uint32_t>(area_.data() + 4) : 0;
  if (!has_header || size > room - kExtensionHeaderSize) {
    corrupt("Header extension too large",
            fmt::format("a header extension of type 0x{:08x} and length {}, with {} bytes left in "
                        "the first cluster or before the backing file name",
                        type, size, room));
  }
  if (type == extension_type::kEnd) {
    area_ = {};
    return std::nullopt;
  }
  const RawExtension extension{type, area_.subspan(kExtensionHeaderSize, size)};
  // The last extension's padding may be missing.
  const uint64_t padded = kExtensionHeaderSize + align_up(size, 8);
  area_ = area_.subspan(std::min<uint64_t>(padded, room));
  return extension;
}

Extensions Extensions::parse(ConstBytes first_cluster, const Header& header) {
  Extensions extensions;
  ExtensionWalker walker(first_cluster, header);
  while (const std::optional<RawExtension> raw = walker.next()) {
    parse_one(*raw, header, extensions);
  }
  if (header.crypt_method == CryptMethod::kLuks && !extensions.crypto_header) {
    corrupt("Missing CRYPTO header for crypt method 2",
            "there is no header extension full disk encryption header pointer");
  }
  return extensions;
}

std::vector<uint8_t> Extensions::encode() const {
  std::vector<uint8_t> bytes;
  if (backing_format) append(bytes, extension_type::kBackingFormat, *backing_format);
  if (data_file_name) append(bytes, extension_type::kDataFile, *data_file_name);
  if (crypto_header) {
    uint8_t data[kCryptoHeaderSize];
    store_big_endian(data, crypto_header->offset.value());
    store_big_endian(data + 8, crypto_header->length);
    append(bytes, extension_type::kCryptoHeader, ConstBytes(data));
  }
  if (feature_names) {
    append(bytes, extension_type::kFeatureNames, ConstBytes(encode_feature_names(*feature_names)));
  }
  if (bitmaps) append(bytes, extension_type::kBitmaps, ConstBytes(bitmaps->encode()));
  for (const UnknownExtension& extension : unknown) {
    append(bytes, extension.type, ConstBytes(extension.data));
  }
  append(bytes, extension_type::kEnd, ConstBytes());
  return bytes;
}

std::string stale_bitmaps_warning(const Header& header) {
  const char* what =
      header.version < 3
          ? "This qcow2 v2 image contains bitmaps, but they may have been modified by a program "
            "without persistent bitmap support; so now they must all be considered inconsistent"
          : "a program lacking bitmap support modified this file, so all bitmaps are now "
            "considered inconsistent";
  return fmt::format(
      "{}\nSome clusters may be leaked, run 'qemu-img check -r' on the image file to fix.", what);
}

std::vector<FeatureName> readable_feature_names(ConstBytes first_cluster, const Header& header) {
  Extensions extensions;
  try {
    ExtensionWalker walker(first_cluster, header);
    while (const std::optional<RawExtension> raw = walker.next()) {
      parse_one(*raw, header, extensions);
    }
  } catch (const Error&) {
    // The image is refused anyway; the names read so far are used in the message.
  }
  return extensions.feature_names.value_or(std::vector<FeatureName>());
}

}  // namespace byre::qcow2::layout
