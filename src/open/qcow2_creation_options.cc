// SPDX-License-Identifier: Apache-2.0
#include "open/qcow2_creation.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "byre/error.h"
#include "open/qemu_drivers.h"

namespace byre::open {

namespace {

constexpr auto kString = OptionKind::kString;
constexpr auto kBool = OptionKind::kBool;
constexpr auto kNumber = OptionKind::kNumber;
constexpr auto kSize = OptionKind::kSize;

// In the order in which QEMU prints them in its "Formatting" line. The encryption options are
// known, so that they are refused by name, but not listed.
constexpr OptionDescription kOptions[] = {
    {"encryption", kBool, "", nullptr, false},
    {"encrypt.format", kString, "", nullptr, false},
    {"encrypt.key-secret", kString, "", nullptr, false},
    {"encrypt.cipher-alg", kString, "", nullptr, false},
    {"encrypt.cipher-mode", kString, "", nullptr, false},
    {"encrypt.ivgen-alg", kString, "", nullptr, false},
    {"encrypt.ivgen-hash-alg", kString, "", nullptr, false},
    {"encrypt.hash-alg", kString, "", nullptr, false},
    {"encrypt.iter-time", kNumber, "", nullptr, false},
    {"cluster_size", kSize, "qcow2 cluster size", "65536"},
    {"extended_l2", kBool, "Extended L2 tables", "off"},
    {"preallocation", kString, "Preallocation mode (allowed values: off, metadata, falloc, full)"},
    {"compression_type", kString, "Compression method used for image cluster compression", "zlib"},
    {"size", kSize, "Virtual disk size"},
    {"compat", kString, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"backing_file", kString, "File name of a base image"},
    {"backing_fmt", kString, "Image format of the base image"},
    {"data_file", kString, "File name of an external data file"},
    {"data_file_raw", kBool, "The external data file must stay valid as a raw image"},
    {"lazy_refcounts", kBool, "Postpone refcount updates", "off"},
    {"refcount_bits", kNumber, "Width of a reference count entry in bits", "16"},
};

Error not_accepted(const std::string& parameter, const std::string& value) {
  return Error(ErrorKind::kInvalidArgument, EINVAL,
               "Parameter '" + parameter + "' does not accept value '" + value + "'");
}

int version_number(const std::string& text) {
  if (text == "0.10" || text == "v2") return 2;
  if (text == "1.1" || text == "v3") return 3;
  throw not_accepted("version", text);
}

CompressionType compression_type(const std::string& text) {
  if (text == "zlib") return CompressionType::kZlib;
  if (text == "zstd") return CompressionType::kZstd;
  throw not_accepted("compression-type", text);
}

void refuse_encryption(const CreationOptions& options) {
  for (const OptionDescription& option : kOptions) {
    if (!std::string_view(option.name).starts_with("encrypt")) continue;
    if (options.get(option.name).value_or("off") != "off") throw no_encryption();
  }
}

}  // namespace

std::span<const OptionDescription> qcow2_creation_options() {
  return kOptions;
}

Error no_encryption() {
  return Error(ErrorKind::kUnsupported, ENOTSUP, "byre does not support encryption yet");
}

qcow2::CreateOptions qcow2_create_options(const CreationOptions& from) {
  refuse_encryption(from);
  qcow2::CreateOptions options;
  options.size = from.size();
  options.cluster_size = from.number("cluster_size");
  options.refcount_bits = from.number("refcount_bits");
  options.lazy_refcounts = from.is_on("lazy_refcounts");
  options.extended_l2 = from.is_on("extended_l2");
  options.backing_filename = from.get("backing_file");
  options.backing_format = from.get("backing_fmt");
  options.data_filename = from.get("data_file");
  options.data_file_raw = from.is_on("data_file_raw");
  // In the order in which QEMU checks them.
  if (const auto text = from.get("compat")) options.version = version_number(*text);
  if (const auto text = options.backing_format; text && !is_driver_of_qemu(*text)) {
    throw not_accepted("backing-fmt", *text);
  }
  if (const auto text = from.get("preallocation")) {
    const std::optional<Preallocation> mode = preallocation_named(*text);
    if (!mode) throw not_accepted("preallocation", *text);
    options.preallocation = *mode;
  }
  if (const auto text = from.get("compression_type"))
    options.compression_type = compression_type(*text);
  return options;
}

}  // namespace byre::open
