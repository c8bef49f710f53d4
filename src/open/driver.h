// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "open/chain.h"
#include "open/node.h"

namespace byre::open {

// A row of the table of drivers: how the nodes of one driver are opened.
struct Driver {
  const char* name;
  // It has its bytes from somewhere else than a child "file", and names may begin with its name.
  bool is_protocol = false;
  bool is_filter = false;
  bool needs_filename = false;  // the option "filename"
  bool supports_backing = false;
  // Its devices follow RequestPolicy by themselves; others get a front.
  bool follows_policy = false;
  // Its devices cut requests into pieces by themselves, or leave that to the ones below.
  bool cuts_requests = false;
  // Puts into options what a name says ("file:disk.img"); nullptr: a name says nothing. Throws
  // Error in QEMU's words.
  void (*parse_filename)(const std::string& filename, OptionTree& options) = nullptr;
  // Opens the node: takes its options, and gives the device and its names. The request outlives the
  // task.
  Task<Node> (*open)(Chain& chain, NodeRequest& request) = nullptr;
};

std::span<const Driver* const> drivers();
// Throws "Unknown driver '<name>'".
const Driver& driver_named(const std::string& name);
// The driver of a name in which nobody has named one: by what stands before its first ':', where
// `has_protocol` says that this counts; else "file", or "host_device" for a device of the host, or
// "host_cdrom" for a drive.
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
