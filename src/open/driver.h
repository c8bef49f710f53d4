// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "open/chain.h"
#include "open/node.h"

namespace byre::open {

struct ImageCreation;

// A row of the table of drivers: how the nodes of a driver are opened, and
// how its images are created.
struct Driver {
  const char* name;
  // It does not get its bytes from a child "file", and names may begin with its name.
  bool is_protocol = false;
  bool is_filter = false;
  bool needs_filename = false;  // the option "filename"
  bool supports_backing = false;
  // Turns a name ("file:disk.img") into options; nullptr: a name has no meaning. Throws Error with
  // QEMU's message.
  void (*parse_filename)(const std::string& filename, OptionTree& options) = nullptr;
  // Opens the node: removes its options from the tree, and returns the device and its names. The
  // request outlives the task.
  Task<Node> (*open)(Chain& chain, NodeRequest& request) = nullptr;
  // nullptr: images of this format cannot be created.
  const ImageCreation* creation = nullptr;
};

std::span<const Driver* const> drivers();
// Throws "Unknown driver '<name>'".
const Driver& driver_named(const std::string& name);
// The driver for a name if none was specified: the one before its first ':', if `has_protocol`
// allows that; else "file", or "host_device" for a device of the host, or "host_cdrom" for a drive.
// Throws "Unknown protocol '<name>'".
const Driver& driver_of_filename(const std::string& filename, bool has_protocol);

extern const Driver kFileDriver;
extern const Driver kHostDeviceDriver;
extern const Driver kHostCdromDriver;
extern const Driver kRawDriver;
extern const Driver kQcow2Driver;
extern const Driver kNullDriver;
extern const Driver kBlkdebugDriver;
extern const Driver kCopyOnReadDriver;
extern const Driver kCompressDriver;

}  // namespace byre::open
