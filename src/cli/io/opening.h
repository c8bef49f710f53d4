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
#include "cli/command.h"
#include "storage/cache_mode.h"
#include "storage/io_backend.h"

namespace byre::cli::io {

// How an image is to be opened: what the program's options and those of `open` say alike.
struct OpenRequest {
  std::optional<std::string> filename;
  // Options of the tree of drivers, by their names ("driver", "file.filename", ...), in the order
  // given; -f is "driver".
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

  // Takes an option that the program and its command `open` have alike: s, n, C, r, k, i, t, d, U;
  // `argument` is that of i, t and d. False: it is another one.
  bool take_option(int letter, const std::string& argument);
  // The values of -t, -d, -i. Throw Error in QEMU's words.
  void set_cache(const std::string& text);
  void set_discard(const std::string& text);
  void set_aio(const std::string& text);
  // A list of options, "name=value,name=value"; later ones win. Throws for a name without value
  // that QEMU does not take, either; warns where QEMU does.
  void add_options(const std::string& text, const Invocation& invocation);
  bool has_option(std::string_view name) const;
  // Takes over the options of `changes` for an image that is open as `image`; "file.discard" is one
  // of the node below it. Throws Error for one that the open node keeps as it is, unless it says
  // what is so already.
  void change_options(const OpenRequest& changes, BlockDevice& image);

 private:
  bool has_option(std::string_view name, std::string_view value) const;
};

using Tell = std::function<void(const std::string&)>;

// Opens it. Errors are QEMU's words without the outermost "can't open device <name>: ".
// `on_warning` and `on_message` as open::ImageOptions has them.
Task<std::unique_ptr<BlockDevice>> open_device(OpenRequest request, Tell on_warning,
                                               Tell on_message);

}  // namespace byre::cli::io
