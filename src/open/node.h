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

// What a node is to the one above it.
enum class Role {
  kTop,       // what the caller asked for
  kFile,      // "file" of a format or filter, "image" of blkdebug
  kDataFile,  // "data-file" of a qcow2 image
  kBacking,   // "backing"
};

// How a node is opened: what follows from the node above it, changed by its own options.
struct NodeFlags {
  bool writable = false;
  bool auto_read_only = false;  // rather read-only than not at all
  bool direct = false;          // cache.direct
  bool no_flush = false;        // cache.no-flush
  bool force_share = false;
  RequestPolicy policy;  // discard, detect-zeroes

  storage::CacheMode cache_mode() const;
};

// An open node: a device, and what its parents have to know of it.
struct Node {
  std::unique_ptr<BlockDevice> device;
  // All its options that matter for what it is, as a JSON object on one line.
  std::string description;
  // The device's filename() is a plain name, and a name for a parent that adds no options.
  bool names_parent = false;
};

// A node while it is being opened: what its driver finds.
struct NodeRequest {
  const Driver* driver = nullptr;
  Role role = Role::kTop;
  OptionTree options;  // what nobody has taken yet
  NodeFlags flags;
  // What is not a matter of options. For the node at the top as the caller said it.
  ImageOptions image;
  std::optional<Node> file;    // "file", where the driver is no protocol
  bool is_probed = false;      // nobody named the driver
  bool is_from_image = false;  // an image named it, not the caller
  size_t depth = 0;            // below the image or backing file whose description has it
  std::string node_name;
  // What the node's description has beside "driver": names and JSON texts.
  std::vector<std::pair<std::string, std::string>> description;

  // Notes an option that matters for what the node is, where it is there; it stays in `options`.
  void describe_option(const std::string& name);
  void describe_child(const std::string& name, const Node& child);
  // The description as JSON.
  std::string description_text() const;
  // The node's name where no better one is known: "json:{...}".
  std::string json_name() const { return "json:" + description_text(); }
};

}  // namespace byre::open
