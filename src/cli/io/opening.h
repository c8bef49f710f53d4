// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "byre/warning.h"
#include "cli/command.h"
#include "storage/cache_mode.h"
#include "storage/io_backend.h"

namespace byre::cli::io {

// How an image is to be opened: the options that the program and its command `open` have in common.
struct OpenRequest {
  std::optional<std::string> filename;
  // Options of the tree of drivers, by name ("driver", "file.filename", ...), in the order given;
  // -f is "driver".
  std::vector<std::pair<std::string, std::string>> options;
  bool read_only = false;
  bool snapshot = false;
  bool copy_on_read = false;
  bool force_share = false;
  bool reads_pipes = false;  // "-" is the standard input
  bool native_aio = false;
  storage::CacheMode cache = storage::CacheMode::kWriteback;
  storage::IoBackend io = storage::IoBackend::kAuto;
  bool unmap = true;  // -d

  // Handles an option that the program and its command `open` have in common: s, n, C, r, k, i, t,
  // d, U; `argument` is that of i, t and d. False if it is another one.
  bool take_option(int letter, const std::string& argument);
  // The values of -t, -d, -i. Throw Error with QEMU's message.
  void set_cache(const std::string& text);
  void set_discard(const std::string& text);
  void set_aio(const std::string& text);
  // A list of options, "name=value,name=value"; later ones override earlier ones. Throws for a name
  // without value where QEMU does; warns where QEMU does.
  void add_options(const std::string& text, const Invocation& invocation);
  bool has_option(std::string_view name) const;
  // Applies the options of `changes` to an image that is open as `image`; "file.discard" is one of
  // the node below it. Throws Error for one that cannot be changed, unless its value is the current
  // one.
  void change_options(const OpenRequest& changes, BlockDevice& image);

 private:
  bool has_option(std::string_view name, std::string_view value) const;
};

using Tell = std::function<void(const std::string&)>;

// Opens it. Errors come without the outermost "can't open device <name>: ".
// `on_warning` and `on_message` as in open::ImageOptions.
Task<std::unique_ptr<BlockDevice>> open_device(OpenRequest request, OnWarning on_warning,
                                               Tell on_message);

}  // namespace byre::cli::io
