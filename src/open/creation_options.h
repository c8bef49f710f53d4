// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace byre::open {

struct Driver;

enum class OptionKind { kString, kBool, kNumber, kSize };

// An option of a format or of the file below it.
struct OptionDescription {
  const char* name;
  OptionKind kind;
  const char* help;
  const char* default_text = nullptr;  // shown and used if no value was given
  bool listed = true;                  // in `-o help`
};

// The value of a number, a size or a bool (1 is "on"); 0 for a string. Throws Error with QEMU's
// message for a text of another kind.
uint64_t parse_option(const OptionDescription& option, const std::string& text);

// The driver of a format that images can be created in; throws Error("Unknown file format 'x'").
const Driver& creatable_driver(const std::string& format);

// The properties of a new image: the options of the format, and those of the file that contains the
// image. The texts are checked for their kind here; the driver checks what they mean. Usage, in the
// order in which QEMU reports errors:
//
//   CreationOptions options(format, filename);  // "Unknown file format 'x'"
//   options.apply(list);                  // "Invalid parameter 'x'", values of the wrong kind
//   options.set_backing(name, format);    // "Backing file not supported ..."
//   options.set_size(bytes);
//   print("Formatting ... " + options.to_text());
//   options.driver().creation->validate(options);  // "Parameter 'x' does not accept value 'y'"
class CreationOptions {
 public:
  // With the name of the new image, a device does not have the options of a file. Throws the errors
  // of creatable_driver(), then those of destination_of().
  explicit CreationOptions(const std::string& format,
                           const std::optional<std::string>& filename = std::nullopt);

  // The format's driver; it has a `creation`.
  const Driver& driver() const { return *driver_; }
  std::string format() const;
  bool has_option(const std::string& name) const;
  // All of them, in the order of to_text().
  std::vector<OptionDescription> descriptions() const;

  // Names and values, in order.
  void apply(const std::vector<std::pair<std::string, std::string>>& list);
  // Sets one value; throws the same errors.
  void set(const std::string& name, const std::string& text);
  void set_size(uint64_t size);
  // Sets backing_file and backing_fmt, as far as they are given; throws Error with QEMU's message
  // for a format without backing files.
  void set_backing(const std::optional<std::string>& filename,
                   const std::optional<std::string>& backing_format);
  // The text as given or by default; nothing if there is neither.
  std::optional<std::string> get(const std::string& name) const;
  // The value of a number, a size or a bool (1 is "on"); 0 if there is none.
  uint64_t number(const std::string& name) const;
  bool is_on(const std::string& name) const { return number(name) != 0; }
  // size=; 0 if it was not given.
  uint64_t size() const { return number("size"); }
  // "name=value ...", in QEMU's order, numbers as numbers.
  std::string to_text() const;

 private:
  struct Entry {
    OptionDescription description;
    std::optional<std::string> text;
    uint64_t number = 0;  // kNumber, kSize, kBool
  };
  Entry* find(const std::string& name);
  const Entry* find(const std::string& name) const;

  const Driver* driver_;
  std::vector<Entry> entries_;
};

}  // namespace byre::open
