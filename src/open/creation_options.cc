// SPDX-License-Identifier: Apache-2.0
#include "open/creation_options.h"

#include <algorithm>
#include <span>
#include <string_view>

#include "byre/error.h"
#include "open/destination.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "open/invalid_argument.h"
#include "open/option_value.h"

namespace byre::open {

namespace {

constexpr auto kString = OptionKind::kString;
constexpr auto kBool = OptionKind::kBool;
constexpr auto kSize = OptionKind::kSize;

// Options of the file, or of the device, that contains the image.
constexpr OptionDescription kFileOptions[] = {
    {"nocow", kBool, "Turn off copy-on-write (valid only on btrfs)"},
    {"preallocation", kString, "Preallocation mode (allowed values: off, falloc, full)"},
    {"extent_size_hint", kSize, "Extent size hint for the image file, 0 to disable"},
};
constexpr OptionDescription kDeviceOptions[] = {
    {"preallocation", kString, "Preallocation mode (allowed values: off)"},
};

std::span<const OptionDescription> host_options(storage::HostDriver driver) {
  if (driver == storage::HostDriver::kFile) return kFileOptions;
  return kDeviceOptions;
}

// The format's options, and those of the file that it does not have itself.
std::vector<OptionDescription> merged_options(const Driver& driver, storage::HostDriver host) {
  const std::span<const OptionDescription> own = driver.creation->options();
  std::vector<OptionDescription> all(own.begin(), own.end());
  for (const OptionDescription& option : host_options(host)) {
    const bool is_known = std::ranges::any_of(own, [&option](const OptionDescription& each) {
      return std::string_view(each.name) == option.name;
    });
    if (!is_known) all.push_back(option);
  }
  return all;
}

std::string creatable_formats() {
  std::vector<std::string> names;
  for (const Driver* driver : drivers()) {
    if (driver->creation != nullptr) names.emplace_back(driver->name);
  }
  std::string text = names.front();
  for (size_t i = 1; i < names.size(); ++i) {
    text += (i + 1 < names.size() ? ", " : " and ") + names[i];
  }
  return text;
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

}  // namespace

uint64_t parse_option(const OptionDescription& option, const std::string& text) {
  switch (option.kind) {
    case OptionKind::kString:
      return 0;
    case OptionKind::kBool:
      return parse_bool_option(option.name, text) ? 1 : 0;
    case OptionKind::kNumber:
      return parse_number_option(option.name, text);
    case OptionKind::kSize:
      return parse_size_option(option.name, text);
  }
  return 0;
}

const Driver& creatable_driver(const std::string& format) {
  for (const Driver* driver : drivers()) {
    if (driver->creation != nullptr && driver->name == format) return *driver;
  }
  throw invalid_argument("Unknown file format '" + format + "'")
      .with_hint("the supported formats are " + creatable_formats());
}

CreationOptions::CreationOptions(const std::string& format,
                                 const std::optional<std::string>& filename)
    : driver_(&creatable_driver(format)) {
  const storage::HostDriver host =
      filename ? destination_of(*filename).driver : storage::HostDriver::kFile;
  for (const OptionDescription& option : merged_options(*driver_, host)) {
    Entry entry{option, std::nullopt, 0};
    if (option.default_text != nullptr) {
      entry.text = option.default_text;
      entry.number = parse_option(option, *entry.text);
    }
    entries_.push_back(std::move(entry));
  }
}

std::string CreationOptions::format() const {
  return driver_->name;
}

std::vector<OptionDescription> CreationOptions::descriptions() const {
  std::vector<OptionDescription> all;
  for (const Entry& entry : entries_) all.push_back(entry.description);
  return all;
}

CreationOptions::Entry* CreationOptions::find(const std::string& name) {
  for (Entry& entry : entries_) {
    if (name == entry.description.name) return &entry;
  }
  return nullptr;
}

const CreationOptions::Entry* CreationOptions::find(const std::string& name) const {
  return const_cast<CreationOptions*>(this)->find(name);
}

bool CreationOptions::has_option(const std::string& name) const {
  return find(name) != nullptr;
}

void CreationOptions::apply(const std::vector<std::pair<std::string, std::string>>& list) {
  for (const auto& [name, text] : list) set(name, text);
}

void CreationOptions::set(const std::string& name, const std::string& text) {
  Entry* entry = find(name);
  if (entry == nullptr) throw invalid_argument("Invalid parameter '" + name + "'");
  entry->number = parse_option(entry->description, text);
  entry->text = text;
}

void CreationOptions::set_size(uint64_t size) {
  set("size", std::to_string(size));
}

void CreationOptions::set_backing(const std::optional<std::string>& filename,
                                  const std::optional<std::string>& backing_format) {
  if (filename) {
    if (!has_option("backing_file")) {
      throw invalid_argument("Backing file not supported for file format '" + format() + "'");
    }
    set("backing_file", *filename);
  }
  if (backing_format) {
    if (!has_option("backing_fmt")) {
      throw invalid_argument("Backing file format not supported for file format '" + format() +
                             "'");
    }
    set("backing_fmt", *backing_format);
  }
}

std::optional<std::string> CreationOptions::get(const std::string& name) const {
  const Entry* entry = find(name);
  return entry == nullptr ? std::nullopt : entry->text;
}

uint64_t CreationOptions::number(const std::string& name) const {
  const Entry* entry = find(name);
  return entry == nullptr ? 0 : entry->number;
}

std::string CreationOptions::to_text() const {
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

}  // namespace byre::open
