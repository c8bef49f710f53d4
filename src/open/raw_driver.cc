// SPDX-License-Identifier: Apache-2.0
// The driver "raw".
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "base/units.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "open/invalid_argument.h"
#include "open/locks.h"
#include "open/option_value.h"
#include "open/raw_device.h"

namespace byre::open {

namespace {

RawWindow take_window(OptionTree& options, uint64_t file_size) {
  RawWindow window;
  window.offset = take_size(options, "offset").value_or(0);
  window.size = take_size(options, "size");
  if (window.offset > file_size) {
    throw invalid_argument(
        fmt::format("Offset ({}) cannot be greater than size of the containing file ({})",
                    window.offset, file_size));
  }
  if (!window.size) return window;
  if (*window.size > file_size - window.offset) {
    throw invalid_argument(
        fmt::format("The sum of offset ({}) and size ({}) has to be smaller or equal to the  "
                    "actual size of the containing file ({})",
                    window.offset, *window.size, file_size));
  }
  if (*window.size % kSectorSize != 0) {
    throw invalid_argument("Specified size is not multiple of 512");
  }
  return window;
}

void warn_of_probing(const NodeRequest& request, const BlockDevice& file) {
  if (!request.image.on_warning) return;
  request.image.on_warning(
      {WarningKind::kFormatGuessed,
       Error(ErrorKind::kInvalidArgument, EINVAL,
             ErrorData{.code = "raw-format-guessed", .name = file.filename()},
             fmt::format("no format was given for '{}', and it is treated as raw, because nothing "
                         "in it says otherwise; a guest that writes block 0 could change that, so "
                         "such writes are restricted",
                         file.filename()))});
}

Task<Node> open_with_driver(Chain&, NodeRequest& request) {
  request.describe_option("offset");
  request.describe_option("size");
  const bool has_window = !request.description.empty();
  request.describe_child("file", *request.file);
  std::unique_ptr<BlockDevice> file = std::move(request.file->device);
  RawOptions options;
  options.window = take_window(request.options, whole_sectors(file->size()));
  options.writable = request.flags.writable;
  options.guards_first_sector = request.is_probed && request.flags.writable;
  if (options.guards_first_sector) warn_of_probing(request, *file);
  Node node;
  node.description = request.description_text();
  node.names_parent = request.file->names_parent && !has_window;
  if (!node.names_parent) options.filename = request.json_name();
  // A raw node gives its parents no plain name: the information that it is raw would be lost.
  node.names_parent = false;
  lock_file_below(*file, raw_lock(request));
  node.device = std::make_unique<RawDevice>(std::move(file), std::move(options));
  co_return node;
}

}  // namespace

const Driver kRawDriver{.name = "raw", .open = open_with_driver, .creation = &kRawCreation};

}  // namespace byre::open
