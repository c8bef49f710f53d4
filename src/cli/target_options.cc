// SPDX-License-Identifier: Apache-2.0
#include "cli/target_options.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <iterator>

#include "base/assert.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/sizes.h"
#include "open/new_file.h"

namespace byre::cli {
namespace {

constexpr auto kString = OptionKind::kString;
constexpr auto kBool = OptionKind::kBool;
constexpr auto kNumber = OptionKind::kNumber;
constexpr auto kSize = OptionKind::kSize;

// In the order in which QEMU prints them in its "Formatting" line. The encryption options are
// known, so that they are refused by name, but not listed.
constexpr OptionDescription kQcow2Options[] = {
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
constexpr OptionDescription kRawOptions[] = {
    {"size", kSize, "Virtual disk size"},
};
// Options of the file, or of the device, that contains the image.
constexpr OptionDescription kFileOptions[] = {
    {"nocow", kBool, "Turn off copy-on-write (valid only on btrfs)"},
    {"preallocation", kString, "Preallocation mode (allowed values: off, falloc, full)"},
    {"extent_size_hint", kSize, "Extent size hint for the image file, 0 to disable"},
};
constexpr OptionDescription kDeviceOptions[] = {
    {"preallocation", kString, "Preallocation mode (allowed values: off)"},
};

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

std::span<const OptionDescription> format_options(const std::string& format) {
  if (format == "qcow2") return kQcow2Options;
  if (format == "raw") return kRawOptions;
  throw invalid("Unknown file format '" + format + "'")
      .with_hint("the supported formats are raw and qcow2");
}

std::span<const OptionDescription> host_options(storage::HostDriver driver) {
  if (driver == storage::HostDriver::kFile) return kFileOptions;
  return kDeviceOptions;
}

// The format's options, and those of the file that it does not have itself.
std::vector<OptionDescription> merged_options(const std::string& format,
                                              storage::HostDriver driver) {
  const std::span<const OptionDescription> own = format_options(format);
  std::vector<OptionDescription> all(own.begin(), own.end());
  for (const OptionDescription& option : host_options(driver)) {
    bool is_known = false;
    for (const OptionDescription& each : own)
      is_known |= std::string_view(each.name) == option.name;
    if (!is_known) all.push_back(option);
  }
  return all;
}

uint64_t parse_bool(const std::string& name, const std::string& text) {
  if (text == "on" || text == "yes" || text == "true" || text == "y") return 1;
  if (text == "off" || text == "no" || text == "false" || text == "n") return 0;
  throw invalid("Parameter '" + name + "' expects 'on' or 'off'");
}

// Like C's parsing of an unsigned number: white space, a sign, and 0x or 0 for other bases.
uint64_t parse_number(const std::string& name, const std::string& text) {
  errno = 0;
  char* end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 0);
  if (end == text.c_str() || *end != '\0')
    throw invalid("Parameter '" + name + "' expects a number");
  if (errno == ERANGE) {
    throw invalid("Value '" + text + "' is too large for parameter '" + name + "'");
  }
  return value;
}

uint64_t parse_size_value(const std::string& name, const std::string& text) {
  const ParsedSize size = parse_size(text);
  if (size.fault == SizeFault::kOutOfRange) {
    throw invalid("Value '" + text + "' is out of range for parameter '" + name + "'");
  }
  if (size.fault.has_value()) {
    throw invalid("Parameter '" + name +
                  "' expects a non-negative number below 2^64\n"
                  "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
                  "and exabytes, respectively.");
  }
  return size.value;
}

uint64_t parse_value(const OptionDescription& option, const std::string& text) {
  switch (option.kind) {
    case OptionKind::kString:
      return 0;
    case OptionKind::kBool:
      return parse_bool(option.name, text);
    case OptionKind::kNumber:
      return parse_number(option.name, text);
    case OptionKind::kSize:
      return parse_size_value(option.name, text);
  }
  return 0;
}

// With doubled commas, so that the line can be passed to -o again.
std::string with_doubled_commas(const std::string& text) {
  std::string doubled;
  for (const char c : text) {
    doubled += c;
    if (c == ',') doubled += c;
  }
  return doubled;
}

// A backing file's format is only stored in the image, so it may be any that QEMU knows.
bool is_driver_name(std::string_view name) {
  static constexpr std::string_view kNames[] = {"blkdebug",
                                                "blklogwrites",
                                                "blkreplay",
                                                "blkverify",
                                                "bochs",
                                                "cloop",
                                                "compress",
                                                "copy-before-write",
                                                "copy-on-read",
                                                "dmg",
                                                "file",
                                                "ftp",
                                                "ftps",
                                                "gluster",
                                                "host_cdrom",
                                                "host_device",
                                                "http",
                                                "https",
                                                "io_uring",
                                                "iscsi",
                                                "luks",
                                                "nbd",
                                                "nfs",
                                                "null-aio",
                                                "null-co",
                                                "nvme",
                                                "nvme-io_uring",
                                                "parallels",
                                                "preallocate",
                                                "qcow",
                                                "qcow2",
                                                "qed",
                                                "quorum",
                                                "raw",
                                                "rbd",
                                                "replication",
                                                "snapshot-access",
                                                "ssh",
                                                "throttle",
                                                "vdi",
                                                "vhdx",
                                                "virtio-blk-vfio-pci",
                                                "virtio-blk-vhost-user",
                                                "virtio-blk-vhost-vdpa",
                                                "vmdk",
                                                "vpc",
                                                "vvfat"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

Error not_accepted(const std::string& parameter, const std::string& value) {
  return invalid("Parameter '" + parameter + "' does not accept value '" + value + "'");
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

}  // namespace

TargetOptions::TargetOptions(std::string format) : format_(std::move(format)) {
  for (const OptionDescription& option : merged_options(format_, storage::HostDriver::kFile)) {
    Entry entry{option, std::nullopt, 0};
    if (option.default_text != nullptr) {
      entry.text = option.default_text;
      entry.number = parse_value(option, *entry.text);
    }
    entries_.push_back(std::move(entry));
  }
}

void TargetOptions::set_filename(const std::string& filename) {
  const std::vector<OptionDescription> known =
      merged_options(format_, open::new_file(filename).driver);
  std::erase_if(entries_, [&known](const Entry& entry) {
    const auto has_its_name = [&entry](const OptionDescription& option) {
      return std::string_view(option.name) == entry.description.name;
    };
    return std::none_of(known.begin(), known.end(), has_its_name);
  });
}

TargetOptions::Entry* TargetOptions::find(const std::string& name) {
  for (Entry& entry : entries_) {
    if (name == entry.description.name) return &entry;
  }
  return nullptr;
}

const TargetOptions::Entry* TargetOptions::find(const std::string& name) const {
  return const_cast<TargetOptions*>(this)->find(name);
}

bool TargetOptions::has_option(const std::string& name) const {
  return find(name) != nullptr;
}

void TargetOptions::apply(const OptionList& list) {
  for (const auto& [name, text] : list.entries()) set(name, text);
}

void TargetOptions::set(const std::string& name, const std::string& text) {
  Entry* entry = find(name);
  if (entry == nullptr) throw invalid("Invalid parameter '" + name + "'");
  entry->number = parse_value(entry->description, text);
  entry->text = text;
}

void TargetOptions::set_size(uint64_t size) {
  set("size", std::to_string(size));
}

std::optional<std::string> TargetOptions::get(const std::string& name) const {
  const Entry* entry = find(name);
  return entry == nullptr ? std::nullopt : entry->text;
}

uint64_t TargetOptions::number(const std::string& name) const {
  const Entry* entry = find(name);
  return entry == nullptr ? 0 : entry->number;
}

uint64_t TargetOptions::size() const {
  return number("size");
}

std::string TargetOptions::to_text() const {
  std::string text;
  for (const Entry& entry : entries_) {
    if (!entry.text.has_value()) continue;
    if (!text.empty()) text += ' ';
    text += std::string(entry.description.name) + "=";
    if (entry.description.kind == OptionKind::kSize ||
        entry.description.kind == OptionKind::kNumber) {
      // As a signed number: -1 is printed as -1.
      text += std::to_string(static_cast<int64_t>(entry.number));
    } else {
      text += with_doubled_commas(*entry.text);
    }
  }
  return text;
}

qcow2::CreateOptions TargetOptions::to_qcow2() const {
  for (const Entry& entry : entries_) {
    const std::string_view name = entry.description.name;
    if (name.starts_with("encrypt") && entry.text.has_value() && entry.text != "off") {
      refuse_unsupported("encryption");
    }
  }
  qcow2::CreateOptions options;
  options.size = size();
  options.cluster_size = number("cluster_size");
  options.refcount_bits = number("refcount_bits");
  options.lazy_refcounts = number("lazy_refcounts") != 0;
  options.extended_l2 = number("extended_l2") != 0;
  options.backing_filename = get("backing_file");
  options.backing_format = get("backing_fmt");
  options.data_filename = get("data_file");
  options.data_file_raw = number("data_file_raw") != 0;
  // In the order in which QEMU checks them.
  if (const auto text = get("compat")) options.version = version_number(*text);
  if (const auto text = options.backing_format; text && !is_driver_name(*text)) {
    throw not_accepted("backing-fmt", *text);
  }
  if (const auto text = get("preallocation")) {
    const std::optional<Preallocation> mode = preallocation_named(*text);
    if (!mode) throw not_accepted("preallocation", *text);
    options.preallocation = *mode;
  }
  if (const auto text = get("compression_type")) options.compression_type = compression_type(*text);
  return options;
}

jobs::NewImage TargetOptions::to_image(const std::string& filename) const {
  jobs::NewImage image;
  image.filename = filename;
  image.format = format_;
  if (format_ == "qcow2") {
    image.options = to_qcow2();
  } else {
    image.options.size = size();
    if (const auto text = get("preallocation")) {
      const std::optional<Preallocation> mode = preallocation_named(*text);
      if (!mode) throw invalid("invalid parameter value: " + *text);
      image.options.preallocation = *mode;
    }
  }
  image.nocow = number("nocow") != 0;
  if (get("extent_size_hint")) image.extent_size_hint = number("extent_size_hint");
  return image;
}

void print_option_help(const std::string& format, const std::optional<std::string>& filename) {
  if (filename) {
    format_options(format);
    print("Supported options:\n" +
          option_help(merged_options(format, open::new_file(*filename).driver)));
    return;
  }
  print("Supported " + format + " options:\n" + option_help(format_options(format)) +
        "\nThe protocol level may support further options.\n"
        "Specify the target filename to include those options.\n");
}

}  // namespace byre::cli
