// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/option_list.h"
#include "jobs/create.h"

namespace byre::cli {

// The properties of a new image according to the command line (`create`, `convert`, `measure`): the
// options of the format and those of the file that contains the image. Usage, in the order in which
// QEMU reports errors:
//
//   TargetOptions options(format);      // "Unknown file format 'x'"
//   options.apply(list);                // "Invalid parameter 'x'", values of the wrong kind
//   options.set("backing_file", name);  // from other arguments: "Backing file not supported ..."
//   options.set_size(bytes);
//   print("Formatting ... " + options.to_text());
//   // "Parameter 'x' does not accept value 'y'":
//   jobs::NewImage image = options.to_image(filename);
class TargetOptions {
 public:
  explicit TargetOptions(std::string format);

  // The destination of the image: a device does not have the options of a file. Call it before
  // apply(). Throws the errors of open::new_file().
  void set_filename(const std::string& filename);

  const std::string& format() const { return format_; }
  bool has_option(const std::string& name) const;

  void apply(const OptionList& list);
  // Sets one value; throws the same errors.
  void set(const std::string& name, const std::string& text);
  void set_size(uint64_t size);
  // The text as given or by default; nothing if there is neither.
  std::optional<std::string> get(const std::string& name) const;
  // size=; 0 if it was not given.
  uint64_t size() const;
  // " name=value ...", in QEMU's order, numbers as numbers.
  std::string to_text() const;
  jobs::NewImage to_image(const std::string& filename) const;
  // The same for a caller that needs no file (`measure`).
  qcow2::CreateOptions to_qcow2() const;

 private:
  struct Entry {
    OptionDescription description;
    std::optional<std::string> text;
    uint64_t number = 0;  // kNumber, kSize, kBool
  };
  Entry* find(const std::string& name);
  const Entry* find(const std::string& name) const;
  uint64_t number(const std::string& name) const;

  std::string format_;
  std::vector<Entry> entries_;
};

// Prints the output of `-o help` for a format; with a file name, the list includes the options of
// that file or device. Throws Error("Unknown file format '<x>'"), and those of new_file().
void print_option_help(const std::string& format, const std::optional<std::string>& filename);

}  // namespace byre::cli
