// SPDX-License-Identifier: Apache-2.0
#include "open/amend_options.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "byre/error.h"
#include "open/driver.h"
#include "open/invalid_argument.h"
#include "open/qcow2_creation.h"

namespace byre::open {

namespace {

constexpr auto kString = OptionKind::kString;
constexpr auto kBool = OptionKind::kBool;
constexpr auto kNumber = OptionKind::kNumber;
constexpr auto kSize = OptionKind::kSize;

// Of qcow2, the only format that has any. Those for encryption are known, so that they are refused
// by name, but not listed.
constexpr OptionDescription kOptions[] = {
    {"encrypt.state", kString, "", nullptr, false},
    {"encrypt.new-secret", kString, "", nullptr, false},
    {"encrypt.old-secret", kString, "", nullptr, false},
    {"encrypt.keyslot", kNumber, "", nullptr, false},
    {"encrypt.iter-time", kNumber, "", nullptr, false},
    {"size", kSize, "Virtual disk size"},
    {"compat", kString, "Compatibility level (v2 [0.10] or v3 [1.1])"},
    {"backing_file", kString, "File name of a base image"},
    {"backing_fmt", kString, "Image format of the base image"},
    {"data_file", kString, "File name of an external data file"},
    {"data_file_raw", kBool, "The external data file must stay valid as a raw image"},
    {"lazy_refcounts", kBool, "Postpone refcount updates"},
    {"refcount_bits", kNumber, "Width of a reference count entry in bits"},
};

const OptionDescription* find(std::span<const OptionDescription> options, const std::string& name) {
  const auto found = std::ranges::find_if(
      options, [&name](const OptionDescription& option) { return name == option.name; });
  return found == options.end() ? nullptr : &*found;
}

// The option of that name, which new images may have besides.
const OptionDescription& known_for_creation(const std::string& name) {
  const OptionDescription* option = find(kOptions, name);
  if (option == nullptr) option = find(qcow2_creation_options(), name);
  if (option != nullptr) return *option;
  throw invalid_argument("Invalid parameter '" + name + "'");
}

// Whether the list as a whole would do for a new image.
bool is_for_creation(const std::vector<std::pair<std::string, std::string>>& list) {
  try {
    for (const auto& [name, text] : list) parse_option(known_for_creation(name), text);
    return true;
  } catch (const Error&) {
    return false;
  }
}

Error unknown(const std::string& name,
              const std::vector<std::pair<std::string, std::string>>& list) {
  std::string message = "Invalid parameter '" + name + "'";
  if (is_for_creation(list)) message += "\nThis option is only supported for image creation";
  return invalid_argument(message);
}

Error not_amendable(const std::string& format) {
  return Error(ErrorKind::kUnsupported, ENOTSUP,
               "Format driver '" + format + "' does not support option amendment");
}

}  // namespace

AmendOptions AmendOptions::parse(const std::vector<std::pair<std::string, std::string>>& list) {
  AmendOptions options;
  for (const auto& [name, text] : list) {
    const OptionDescription* const option = find(kOptions, name);
    if (option == nullptr) throw unknown(name, list);
    const uint64_t number = parse_option(*option, text);
    if (name == "size") options.size = number;
    if (name == "compat") options.compat = text;
    if (name == "backing_file") options.backing_file = text;
    if (name == "backing_fmt") options.backing_format = text;
    if (name == "data_file") options.data_file = text;
    if (name == "data_file_raw") options.data_file_raw = number != 0;
    if (name == "lazy_refcounts") options.lazy_refcounts = number != 0;
    if (name == "refcount_bits") options.refcount_bits = number;
    if (name.starts_with("encrypt.")) options.has_encryption = true;
  }
  return options;
}

void check_amendable(const std::string& format) {
  if (format != kQcow2Driver.name) throw not_amendable(format);
}

std::span<const OptionDescription> amend_options_of(const std::string& format) {
  const bool exists = std::ranges::any_of(
      drivers(), [&format](const Driver* driver) { return format == driver->name; });
  if (!exists) {
    throw invalid_argument("Unknown file format '" + format + "'");
  }
  check_amendable(format);
  return kOptions;
}

}  // namespace byre::open
