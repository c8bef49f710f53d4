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

[[noreturn]] void corrupt(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kCorrupt, EINVAL, std::move(data), std::move(sentence));
}

// The end of the extensions. The backing file name may start inside the header; QEMU then sees no
// extensions.
uint64_t area_end(const Header& header) {
  return header.has_backing_file() ? std::min(header.backing_file_offset, header.cluster_size())
                                   : header.cluster_size();
}

std::string parse_backing_format(ConstBytes data) {
  if (data.size() > limits::kBackingFormatSizeMax) {
    corrupt({.code = "qcow2-backing-format-too-long",
             .value = data.size(),
             .bound = limits::kBackingFormatSizeMax},
            fmt::format("the header extension with the backing file format has {} bytes; at most "
                        "{} are allowed",
                        data.size(), limits::kBackingFormatSizeMax));
  }
  return text_of(data);
}

CryptoHeader parse_crypto_header(ConstBytes data, const Header& header) {
  if (header.crypt_method != CryptMethod::kLuks) {
    const uint32_t method = static_cast<uint32_t>(header.crypt_method);
    corrupt({.code = "qcow2-crypto-header-unexpected", .field = "crypt_method", .value = method},
            fmt::format("crypt_method is {}, not LUKS, but there is the header extension full disk "
                        "encryption header pointer",
                        method));
  }
  if (data.size() != kCryptoHeaderSize) {
    corrupt({.code = "qcow2-crypto-header-size-wrong",
             .value = data.size(),
             .bound = kCryptoHeaderSize},
            fmt::format("the header extension full disk encryption header pointer has {} bytes, "
                        "not {}",
                        data.size(), kCryptoHeaderSize));
  }
  const CryptoHeader crypto{HostOffset(load_big_endian<uint64_t>(data.data())),
                            load_big_endian<uint64_t>(data.data() + 8)};
  if (!is_aligned(crypto.offset.value(), header.cluster_size())) {
    corrupt({.code = "qcow2-crypto-header-offset-invalid",
             .value = crypto.offset.value(),
             .bound = header.cluster_size()},
            fmt::format("the header extension full disk encryption header pointer has the offset "
                        "0x{:x}, not a multiple of the cluster size {}",
                        crypto.offset.value(), header.cluster_size()));
  }
  return crypto;
}

void parse_bitmaps(ConstBytes data, const Header& header, Extensions& extensions) {
  if (data.size() != BitmapsExtension::kSize) {
    corrupt({.code = "qcow2-bitmaps-extension-size-wrong",
             .value = data.size(),
             .bound = BitmapsExtension::kSize},
            fmt::format("the bitmaps header extension has {} bytes, not {}", data.size(),
                        BitmapsExtension::kSize));
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
    corrupt({.code = "qcow2-extension-too-large", .value = size, .bound = room},
            fmt::format("a header extension of type 0x{:08x} and length {} does not fit: {} bytes "
                        "are left in the first cluster or before the backing file name",
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
    const uint32_t method = static_cast<uint32_t>(header.crypt_method);
    corrupt({.code = "qcow2-crypto-header-missing", .field = "crypt_method", .value = method},
            fmt::format("crypt_method is {}, LUKS, but there is no header extension full disk "
                        "encryption header pointer",
                        method));
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

Error stale_bitmaps_problem(const Header& header) {
  if (header.version < 3) {
    return Error(
        ErrorKind::kCorrupt, EINVAL,
        ErrorData{
            .code = "qcow2-bitmaps-in-version-2", .field = "version", .value = header.version},
        fmt::format("version is {}, which cannot say whether its bitmaps are valid, so "
                    "they are not used",
                    header.version));
  }
  return Error(ErrorKind::kCorrupt, EINVAL,
               ErrorData{.code = "qcow2-bitmaps-stale",
                         .field = "autoclear_features",
                         .value = header.autoclear_features},
               fmt::format("autoclear_features is 0x{:x}, without the bit for bitmaps: a program "
                           "that does not know them wrote to the image, so they are not used",
                           header.autoclear_features));
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
