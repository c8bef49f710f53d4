// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "open/open.h"
#include "open/option_tree.h"

namespace byre::open {

struct Driver;

// The role of a node for the one above it.
enum class Role {
  kTop,       // what the caller asked for
  kFile,      // "file" of a format or filter, "image" of blkdebug
  kDataFile,  // "data-file" of a qcow2 image
  kBacking,   // "backing"
};

// How a node is opened: inherited from the node above it, and changed by its own options.
struct NodeFlags {
  bool writable = false;
  bool auto_read_only = false;  // read-only if it cannot be opened for writing
  bool direct = false;          // cache.direct
  bool no_flush = false;        // cache.no-flush
  bool force_share = false;
  RequestPolicy policy;  // discard, detect-zeroes

  storage::CacheMode cache_mode() const;
};

// An open node: a device, and what its parents need to know about it.
struct Node {
  std::unique_ptr<BlockDevice> device;
  // All options that matter for its identity, as a JSON object on one line.
  std::string description;
  // The device's filename() is a plain name, also for a parent that adds no options.
  bool names_parent = false;
};

// A node while it is being opened: the input of its driver.
struct NodeRequest {
  const Driver* driver = nullptr;
  Role role = Role::kTop;
  OptionTree options;  // those that have not been taken yet
  NodeFlags flags;
  // Everything that is not an option. For the top node, as specified by the caller.
  ImageOptions image;
  std::optional<Node> file;    // "file", where the driver is no protocol
  bool is_probed = false;      // no driver was specified
  bool is_from_image = false;  // named by an image, not by the caller
  size_t depth = 0;            // below the image or backing file whose description contains it
  std::string node_name;
  // The members of the node's description other than "driver": names and JSON texts.
  std::vector<std::pair<std::string, std::string>> description;

  // Adds an option that matters for the node's identity, if it is present; it stays in `options`.
  void describe_option(const std::string& name);
  void describe_child(const std::string& name, const Node& child);
  // The description as JSON.
  std::string description_text() const;
  // The node's name if there is no better one: "json:{...}".
  std::string json_name() const { return "json:" + description_text(); }
};

}  // namespace byre::open
