// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "open/format_probe.h"
#include "open/image_name.h"
#include "open/option_tree.h"
#include "qcow2/image/image.h"
#include "storage/file_device.h"

// From a file name to a tree of BlockDevices: the format is probed or given, the backing chain and
// the external data file are opened, and a chain that contains itself is refused, by device and
// inode.
namespace byre::open {

struct ImageOptions {
  std::optional<std::string> format;  // "raw", "qcow2", another driver; nothing: probe
  // Options of the driver and of the nodes below it, beside the name or instead of it. They count
  // more than what follows here. Here means the caller: what they name may be opened.
  OptionTree tree;
  bool name_is_tree = false;  // the tree says all, and the name is for messages
  bool writable = false;
  bool force_share = false;  // -U
  // Nobody else may write meanwhile to what is opened for reading, raw images included, which are
  // otherwise shared.
  bool no_share = false;
  // Nobody else may empty or resize meanwhile a raw image that is opened for reading; writing is
  // shared.
  bool no_resize = false;
  storage::CacheMode cache = storage::CacheMode::kWriteback;
  storage::IoBackend io = storage::IoBackend::kAuto;
  bool reads_pipes = false;    // "-" is the standard input, not a file of that name
  bool no_backing = false;     // BDRV_O_NO_BACKING: do not open the backing chain
  bool for_check = false;      // see qcow2::OpenOptions
  bool metadata_only = false;  // the same; the external data file is not opened either
  // An internal snapshot to show; refused as "Failed to load snapshot: ...", without the image's
  // name.
  std::optional<qcow2::SnapshotSelector> snapshot;
  int compression_level = 0;
  // What discards and writes of zeroes come to. As QEMU's programs have it where nobody says it.
  RequestPolicy policy{.discard = DiscardPolicy::kIgnore};
  // Whether an image may make byre open the files that it names. What it names all the same is
  // Error(kPermission).
  bool allow_backing = true;
  bool allow_data_file = true;
  // Lines for standard error that are no error of the call: see qcow2::OpenOptions.
  std::function<void(const std::string&)> on_warning;
  // Lines for standard output: what blkdebug says of requests that wait at a breakpoint.
  std::function<void(const std::string&)> on_message;
};

// An image as commands use it: the device that has the guest's bytes, whatever its format.
// `filename` is a path, a name with one of the protocols of the table of drivers ("file:",
// "host_device:", "null-co:", "blkdebug:"), "json:{...}", or, with `reads_pipes`, "-": the standard
// input, read to its end where it is a pipe. Errors: "Could not open '<name>': ..." in QEMU's
// words, the inner links of the chain included.
Task<std::unique_ptr<BlockDevice>> open_image(std::string filename, ImageOptions options);

// The qcow2 image that a device is that open_image() gave, or nullptr where it is raw.
qcow2::Image* as_qcow2(BlockDevice* device);
// Whether a device that open_image() gave makes each request durable before it is done; what goes
// to the image itself, see as_qcow2(), does not.
bool writes_through(const BlockDevice& device);

}  // namespace byre::open
