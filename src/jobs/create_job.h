// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"
#include "open/creation_options.h"

namespace byre::jobs {

// A new image that may have a backing file: `create` as a whole.
struct CreateJob {
  std::string filename;
  std::string format = "raw";
  // Names and values of options of the format and the file.
  std::vector<std::pair<std::string, std::string>> options;
  // The same as the options backing_file, backing_fmt and size.
  std::optional<std::string> backing_filename;
  std::optional<std::string> backing_format;
  std::optional<uint64_t> size;
  // The backing file must exist and have its format; it gives the size if there is none. If false,
  // it may be missing.
  bool checks_backing = true;
  // Called with the complete options before a file is touched.
  std::function<void(const open::CreationOptions&)> on_options;
  // Sentences about properties that the new file could not be given.
  std::function<void(const std::string&)> on_warning;
};

// Creates the image, as create_image() does. A file that the backing image needs is not replaced by
// the new image. The order of the checks is QEMU's. Error messages are without the prefix
// "<filename>: ".
Task<void> create(CreateJob job);

}  // namespace byre::jobs
