// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "byre/warning.h"
#include "open/format_probe.h"
#include "open/image_name.h"
#include "open/option_tree.h"
#include "qcow2/image/image.h"
#include "storage/file_device.h"

// From a file name to a tree of BlockDevices: the format is probed or specified, the backing chain
// and the external data file are opened, and a chain that contains itself is refused, by device and
// inode.
namespace byre::open {

using SnapshotSelector = qcow2::SnapshotSelector;

struct ImageOptions {
  std::optional<std::string> format;  // "raw", "qcow2", another driver; nothing: probe
  // Options of the driver and of the nodes below it, in addition to the name or instead of it. They
  // override the members below. They come from the caller: what they name may be opened.
  OptionTree tree;
  bool name_is_tree = false;  // the tree has everything; the name is only for messages
  bool writable = false;
  // The backing image at this depth, 1 for the backing file of the top image, is opened for writing
  // as well; 0: none is.
  uint32_t writable_backing = 0;
  bool force_share = false;  // -U
  // No other process may write to what is opened for reading, including raw images, which are
  // otherwise shared.
  bool no_share = false;
  // No other process may truncate or resize a raw image that is opened for reading; writing is
  // shared.
  bool no_resize = false;
  storage::CacheMode cache = storage::CacheMode::kWriteback;
  storage::IoBackend io = storage::IoBackend::kAuto;
  bool reads_pipes = false;    // "-" is the standard input, not a file of that name
  bool no_backing = false;     // BDRV_O_NO_BACKING: do not open the backing chain
  bool for_check = false;      // see qcow2::OpenOptions
  bool metadata_only = false;  // the same; the external data file is not opened either
  // An internal snapshot to show; refused with "Failed to load snapshot: ...", without the image's
  // name.
  std::optional<SnapshotSelector> snapshot;
  int compression_level = 0;
  // What happens to discards and writes of zeroes. The default is that of QEMU's programs.
  RequestPolicy policy{.discard = DiscardPolicy::kIgnore};
  // Whether files that an image names may be opened. If not, an image that names one is refused
  // with Error(kPermission).
  bool allow_backing = true;
  bool allow_data_file = true;
  // Called for what is wrong although the call does not fail: see qcow2::OpenOptions.
  OnWarning on_warning;
  // Lines for standard output: blkdebug's messages about requests that wait at a breakpoint.
  std::function<void(const std::string&)> on_message;
};

// Opens an image for a command: the device that has the guest's bytes, whatever its format.
// `filename` is a path, a name with one of the protocols of the table of drivers ("file:",
// "host_device:", "null-co:", "blkdebug:"), "json:{...}", or, with `reads_pipes`, "-": standard
// input, read to its end if it is a pipe. Errors: "Could not open '<name>': ..." with QEMU's
// message, including the inner links of the chain.
Task<std::unique_ptr<BlockDevice>> open_image(std::string filename, ImageOptions options);

// The qcow2 image of a device that open_image() returned, or nullptr if it is raw.
qcow2::Image* as_qcow2(BlockDevice* device);

}  // namespace byre::open
