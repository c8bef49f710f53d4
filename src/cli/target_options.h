// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/option_list.h"
#include "jobs/create.h"

namespace byre::cli {

// What a new image shall be, as the command line says it (`create`, `convert`, `measure`): the
// format's options and those of the file that it lies in. Usage, in the order in which QEMU finds
// faults:
//
//   TargetOptions options(format);            // "Unknown file format 'x'"
//   options.apply(list);                      // "Invalid parameter 'x'", values of the wrong kind
//   options.set("backing_file", name);        // what other arguments say: "Backing file not
//   supported ..." options.set_size(bytes); print("Formatting ... " + options.to_text());
//   jobs::NewImage image = options.to_image(filename);   // "Parameter 'x' does not accept value
//   'y'"
class TargetOptions {
 public:
  explicit TargetOptions(std::string format);

  // Where the image goes: a device has not got the options of a file. Before apply(). Errors of
  // open::new_file().
  void set_filename(const std::string& filename);

  const std::string& format() const { return format_; }
  bool has_option(const std::string& name) const;

  void apply(const OptionList& list);
  // One value; the same errors.
  void set(const std::string& name, const std::string& text);
  void set_size(uint64_t size);
  // The text as it was given or by default; nothing: neither.
  std::optional<std::string> get(const std::string& name) const;
  // size=; 0 where it was not given.
  uint64_t size() const;
  // " name=value ...", in QEMU's order, numbers as numbers.
  std::string to_text() const;
  jobs::NewImage to_image(const std::string& filename) const;
  // The same for somebody who needs no file (`measure`).
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

// Prints what `-o help` shows for a format; with a file name, the options of the file or device
// that it names are in the list. Throws Error("Unknown file format '<x>'"), and those of
// new_file().
void print_option_help(const std::string& format, const std::optional<std::string>& filename);

}  // namespace byre::cli
