// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "open/node.h"
#include "open/open.h"
#include "open/option_tree.h"
#include "storage/file_device.h"

namespace byre::open {

// What a node is opened from: a name, the name of a node that is already open, or options alone;
// options may accompany a name.
struct NodeSource {
  std::optional<std::string> filename;
  std::optional<std::string> reference;
  OptionTree options;
  bool is_from_image = false;
  size_t depth = 0;
};

// One image and the files below it while they are being opened: a tree of nodes, each opened by its
// driver, which asks the chain for the nodes below. The chain remembers which files of the host it
// has opened, so that a chain that returns to one of them is refused at once, whatever names it
// used, and it remembers the names of the nodes.
//
// Error messages are QEMU's without the outermost "Could not open '<name>': ".
class Chain {
 public:
  // Opens the top node. Several calls give trees that can refer to each other's nodes.
  Task<Node> open_top(NodeSource source, ImageOptions options);
  // The same for a file that is already open.
  Task<Node> open_on(std::unique_ptr<storage::FileDevice> file, ImageOptions options);

  // For drivers: opens the node that `parent` has under `name`, from its options "<name>" and
  // "<name>.*", which are removed. `filename` is the file name if the options do not give one; if
  // there are neither options nor a name, there is no node. The parent outlives the task.
  Task<std::optional<Node>> open_child(NodeRequest& parent, std::string name, Role role,
                                       std::optional<std::string> filename);
  // The same for a required node: "A block device must be specified for "<name>"".
  Task<Node> open_required_child(NodeRequest& parent, std::string name, Role role,
                                 std::optional<std::string> filename);
  // For drivers of files: throws if the file is already an image of the chain; a later node that
  // returns to it is refused then, unless it holds only data.
  void add_file(const BlockDevice& file, Role role);

 private:
  struct NamedNode {
    BlockDevice* device = nullptr;  // nullptr: it is being opened
    std::string description;
    bool names_parent = false;
  };

  Task<Node> open_node(NodeSource source, NodeFlags flags, ImageOptions image, Role role);
  Task<Node> open_probed(NodeRequest& request, std::optional<std::string> filename);
  Task<Node> open_driver(NodeRequest& request);
  Task<void> open_backing(NodeRequest& request, BlockDevice& device);
  Node refer_to(const NodeSource& source) const;
  // Throws if the node of this name is one of those that are being opened.
  void check_no_cycle(const std::string& name, const char* child) const;
  void take_node_name(NodeRequest& request);

  std::vector<FileIdentity> images_;  // from the top down
  std::map<std::string, NamedNode> named_;
  size_t nodes_ = 0;
};

}  // namespace byre::open
