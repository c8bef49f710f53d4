// SPDX-License-Identifier: Apache-2.0
#include "open/chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "block/buffer.h"
#include "block/read_zero_padded.h"
#include "filter/borrowed_device.h"
#include "open/driver.h"
#include "open/image_name.h"
#include "open/invalid_argument.h"
#include "open/node_options.h"
#include "open/option_json.h"

namespace byre::open {

namespace {

// Longer chains are refused: each link is an open file, and a read may visit all of them.
constexpr size_t kImagesMax = 1000;
// Nodes without files count too, as an image may describe any number of them.
constexpr size_t kNodesMax = 4000;
// The nesting depth of nodes in one description.
constexpr size_t kDepthMax = 200;

NodeFlags top_flags(const ImageOptions& options) {
  NodeFlags flags;
  flags.writable = options.writable;
  flags.direct = storage::is_direct(options.cache);
  flags.no_flush = options.cache == storage::CacheMode::kUnsafe;
  flags.force_share = options.force_share;
  flags.policy = options.policy;
  return flags;
}

// What a node below inherits from its parent, before its own options.
NodeFlags child_flags(const NodeRequest& parent, Role role) {
  NodeFlags flags = parent.flags;
  // The child executes every request that the node above passes on, discards included, unless its
  // own options say otherwise.
  flags.policy = RequestPolicy{};
  if (role == Role::kBacking) {
    flags.writable = parent.image.writable_backing == 1;
    flags.auto_read_only = false;
  }
  return flags;
}

ImageOptions child_image(const ImageOptions& parent, Role role) {
  ImageOptions image = parent;
  image.format = std::nullopt;
  image.tree = OptionTree();
  image.name_is_tree = false;
  image.no_backing = false;
  image.snapshot = std::nullopt;
  if (role == Role::kBacking && image.writable_backing > 0) --image.writable_backing;
  // A node below a filter, or a backing file, is opened for reading its data.
  if (role != Role::kBacking) image.metadata_only = false;
  image.for_check = false;
  return image;
}

// A name may contain all options in JSON; options given separately take precedence.
void take_json_name(NodeSource& source) {
  if (!source.filename) return;
  const std::optional<OptionTree> tree = parse_json_name(*source.filename);
  if (!tree) return;
  source.options.set_defaults(*tree);
  source.filename = std::nullopt;
}

// The driver, as far as it can be determined without reading a file; the name is put into its
// options if the driver takes it from there.
const Driver* choose_driver(NodeSource& source, Role role) {
  OptionTree& options = source.options;
  const std::optional<std::string> named = options.find_string("driver");
  const Driver* driver = named ? &driver_named(*named) : nullptr;
  const bool is_protocol =
      driver != nullptr ? driver->is_protocol : role == Role::kFile || role == Role::kDataFile;
  if (!is_protocol) return driver;
  const bool may_have_protocol = source.filename.has_value();
  if (source.filename) {
    if (options.has("filename")) {
      throw invalid_argument("Can't specify 'file' and 'filename' options at the same time");
    }
    options.set("filename", *source.filename);
    source.filename = std::nullopt;
  }
  const std::optional<std::string> filename = options.find_string("filename");
  if (driver == nullptr) {
    if (!filename) throw invalid_argument("Must specify either driver or file");
    driver = &driver_of_filename(*filename, may_have_protocol);
  }
  if (may_have_protocol && driver->parse_filename != nullptr) {
    options.remove("filename");
    driver->parse_filename(*filename, options);
  }
  return driver;
}

Error block_node_is_read_only() {
  return Error(ErrorKind::kPermission, EPERM, "Block node is read-only");
}

// Refuses options that no driver has taken.
void check_nothing_left(const NodeRequest& request) {
  if (request.options.empty()) return;
  const std::string& name = request.options.entries().begin()->first;
  throw invalid_argument(request.driver->is_protocol
                             ? fmt::format("Block protocol '{}' doesn't support the option '{}'",
                                           request.driver->name, name)
                             : fmt::format("Block format '{}' does not support the option '{}'",
                                           request.driver->name, name));
}

// A drive without a disc is raw.
Task<std::string> probe(BlockDevice* file) {
  Buffer first(kProbeSize);
  const ReadBuffers to(first.bytes());
  try {
    co_await read_zero_padded(file, 0, to);
  } catch (const Error& error) {
    if (error.errno_value() != ENOMEDIUM) throw;
    co_return "raw";
  }
  co_return probe_format(first.bytes(), file->filename());
}

}  // namespace

Task<Node> Chain::open_top(NodeSource source, ImageOptions options) {
  const bool wants_to_write = options.writable;
  if (options.format) source.options.set("driver", *options.format);
  const NodeFlags flags = top_flags(options);
  Node node = co_await open_node(std::move(source), flags, std::move(options), Role::kTop);
  if (wants_to_write && node.device->is_read_only()) throw block_node_is_read_only();
  co_return node;
}

Task<Node> Chain::open_on(std::unique_ptr<storage::FileDevice> file, ImageOptions options) {
  NodeRequest request;
  request.flags = top_flags(options);
  if (options.format) request.driver = &driver_named(*options.format);
  request.image = std::move(options);
  add_file(*file, Role::kFile);
  request.file = Node{std::move(file), "{}", true};
  Node node = co_await open_probed(request, std::nullopt);
  co_return node;
}

Task<Node> Chain::open_node(NodeSource source, NodeFlags flags, ImageOptions image, Role role) {
  if (source.reference) co_return refer_to(source);
  if (++nodes_ > kNodesMax) {
    throw Error(ErrorKind::kCorrupt, ELOOP,
                fmt::format("The image consists of more than {} nodes", kNodesMax));
  }
  if (source.depth > kDepthMax) {
    throw Error(ErrorKind::kCorrupt, ELOOP,
                fmt::format("Node nesting exceeds a depth of {}", kDepthMax));
  }
  take_json_name(source);
  NodeRequest request;
  request.driver = choose_driver(source, role);
  request.role = role;
  request.is_from_image = source.is_from_image;
  request.depth = source.depth;
  request.options = std::move(source.options);
  request.flags = flags;
  request.image = std::move(image);
  take_inherited(request.options, request.flags);
  if (take_no_backing(request.options, request.image.on_warning)) request.image.no_backing = true;
  co_return co_await open_probed(request, std::move(source.filename));
}

// Opens the file below first; if no driver was named, the file's first bytes determine it.
Task<Node> Chain::open_probed(NodeRequest& request, std::optional<std::string> filename) {
  const bool is_format = request.driver == nullptr || !request.driver->is_protocol;
  if (is_format && !request.file) {
    request.file = co_await open_child(request, "file", Role::kFile, std::move(filename));
  }
  if (request.driver == nullptr) {
    if (!request.file) throw invalid_argument("Must specify either driver or file");
    const std::string format = co_await probe(request.file->device.get());
    request.driver = &driver_named(format);
    request.is_probed = true;
  }
  request.options.remove("driver");
  Node node = co_await open_driver(request);
  co_await open_backing(request, *node.device);
  check_nothing_left(request);
  if (!request.node_name.empty()) {
    named_[request.node_name] = {node.device.get(), node.description, node.names_parent};
  }
  co_return node;
}

Task<Node> Chain::open_driver(NodeRequest& request) {
  check_inherited(request.flags);
  const Driver& driver = *request.driver;
  if (driver.needs_filename && request.options.find_string("filename").value_or("").empty()) {
    throw invalid_argument(fmt::format("The '{}' block driver requires a file name", driver.name));
  }
  take_policy(request.options, request.flags.policy);
  take_node_name(request);
  if (!driver.is_protocol) {
    if (!request.file) throw invalid_argument("A block device must be specified for \"file\"");
    if (request.flags.writable && request.file->device->is_read_only()) {
      if (!request.flags.auto_read_only) throw block_node_is_read_only();
      request.flags.writable = false;
    }
  }
  Node node = co_await driver.open(*this, request);
  node.device->set_policy(request.flags.policy);
  co_return node;
}

void Chain::take_node_name(NodeRequest& request) {
  const std::optional<std::string> name = request.options.take_text("node-name");
  if (!name) return;
  check_node_name(*name);
  if (!named_.try_emplace(*name).second) {
    throw invalid_argument(fmt::format("Duplicate nodes with node-name='{}'", *name));
  }
  request.node_name = *name;
}

void Chain::check_no_cycle(const std::string& name, const char* child) const {
  const auto found = named_.find(name);
  if (found == named_.end() || found->second.device != nullptr) return;
  throw invalid_argument(
      fmt::format("Making '{}' a {} child of '{}' would create a cycle", name, child, name));
}

Node Chain::refer_to(const NodeSource& source) const {
  const std::string& name = *source.reference;
  if (source.filename || !source.options.empty()) {
    throw invalid_argument(
        "Cannot reference an existing block device with additional options or a new filename");
  }
  const auto found = named_.find(name);
  if (found == named_.end()) {
    throw Error(ErrorKind::kNotFound, ENODEV,
                fmt::format("Cannot find device='{}' nor node-name='{}'", name, name));
  }
  check_no_cycle(name, "file");
  Node node;
  node.device = std::make_unique<filter::BorrowedDevice>(*found->second.device,
                                                         filter::BorrowedDevice::AtClose::kNothing);
  node.description = found->second.description;
  node.names_parent = found->second.names_parent;
  return node;
}

Task<std::optional<Node>> Chain::open_child(NodeRequest& parent, std::string name, Role role,
                                            std::optional<std::string> filename) {
  NodeSource source;
  source.options = parent.options.take_group(name);
  source.reference = parent.options.find_string(name);
  source.filename = std::move(filename);
  source.is_from_image = parent.is_from_image;
  source.depth = parent.depth + 1;
  if (source.reference) parent.options.remove(name);
  if (!source.reference && !source.filename && source.options.empty()) co_return std::nullopt;
  parent.options.remove(name);
  co_return co_await open_node(std::move(source), child_flags(parent, role),
                               child_image(parent.image, role), role);
}

Task<Node> Chain::open_required_child(NodeRequest& parent, std::string name, Role role,
                                      std::optional<std::string> filename) {
  std::optional<Node> child = co_await open_child(parent, name, role, std::move(filename));
  if (!child) {
    throw invalid_argument(fmt::format("A block device must be specified for \"{}\"", name));
  }
  co_return std::move(*child);
}

Task<void> Chain::open_backing(NodeRequest& request, BlockDevice& device) {
  if (request.image.no_backing) co_return;
  const std::optional<std::string> reference = request.options.find_string("backing");
  const bool has_options = has_group(request.options, "backing");
  qcow2::Image* const image = as_qcow2(&device);
  const bool has_name = image != nullptr && !image->backing_filename().empty();
  if (!reference && !has_options && !has_name) {
    request.options.remove("backing");
    co_return;
  }
  if (!request.driver->supports_backing)
    throw invalid_argument("Driver doesn't support backing files");
  NodeSource source;
  source.is_from_image = request.is_from_image;
  source.options = request.options.take_group("backing");
  source.reference = reference;
  request.options.remove("backing");
  if (has_name && !reference && !source.options.has("file.filename")) {
    if (!request.image.allow_backing) {
      throw Error(ErrorKind::kPermission, EPERM,
                  fmt::format("Backing file '{}' may not be opened", image->backing_filename()),
                  fmt::format("'{}' refers to it, but images may not refer to other files here",
                              device.filename()));
    }
    const std::string& name = image->backing_filename();
    source.filename = resolve_relative(leaf_of(device).filename(), name);
    source.is_from_image = true;
  }
  if (image != nullptr && !reference && !image->backing_format().empty()) {
    source.options.set_default("driver", image->backing_format());
  }
  if (reference) check_no_cycle(*reference, "backing");
  std::optional<Error> failure;
  try {
    Node below = co_await open_node(std::move(source), child_flags(request, Role::kBacking),
                                    child_image(request.image, Role::kBacking), Role::kBacking);
    image->set_backing(std::move(below.device));
  } catch (const Error& error) {
    failure = error.with_prefix("Could not open backing file");
  }
  if (failure) throw *failure;
}

void Chain::add_file(const BlockDevice& file, Role role) {
  const FileIdentity identity = file.identity().value();
  if (std::ranges::find(images_, identity) != images_.end()) {
    throw Error(ErrorKind::kCorrupt, ELOOP,
                fmt::format("Image '{}' refers to itself", file.filename()),
                "the chain of backing and data files contains a loop");
  }
  if (role == Role::kDataFile) return;
  if (images_.size() >= kImagesMax) {
    throw Error(ErrorKind::kCorrupt, ELOOP,
                fmt::format("Image '{}' has more than {} overlays above it", file.filename(),
                            kImagesMax - 1));
  }
  images_.push_back(identity);
}

}  // namespace byre::open
