// SPDX-License-Identifier: Apache-2.0
#include "open/open.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "block/read_zero_padded.h"
#include "open/chain.h"
#include "open/raw_device.h"
#include "storage/null_device.h"
#include "storage/spool.h"

namespace byre::open {

namespace {

constexpr const char* kStandardInput = "-";

// Turns an Error of the task into Error("<prefix>: <message>").
Task<std::unique_ptr<BlockDevice>> with_prefix(Task<std::unique_ptr<BlockDevice>> task,
                                               std::string prefix) {
  std::optional<Error> failure;
  try {
    co_return co_await std::move(task);
  } catch (const Error& error) {
    failure = error.with_prefix(prefix);
  }
  throw *failure;
}

Task<std::unique_ptr<BlockDevice>> open_standard_input(ImageOptions options) {
  std::unique_ptr<storage::FileDevice> file =
      co_await storage::spool(STDIN_FILENO, kStandardInput, nullptr);
  Chain chain;
  Node node = co_await chain.open_on(std::move(file), std::move(options));
  co_return std::move(node.device);
}

Task<std::unique_ptr<BlockDevice>> open_named(std::string filename, ImageOptions options) {
  Chain chain;
  NodeSource source;
  source.options = options.tree;
  if (!options.name_is_tree) source.filename = std::move(filename);
  Node node = co_await chain.open_top(std::move(source), std::move(options));
  co_return std::move(node.device);
}

Task<void> load_snapshot(BlockDevice* device, qcow2::SnapshotSelector selector) {
  qcow2::Image* const image = as_qcow2(device);
  if (image == nullptr) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                fmt::format("Block format '{}' used by device '' does not support temporarily "
                            "loading internal snapshots",
                            device->driver()));
  }
  co_await image->load_snapshot(std::move(selector));
}

}  // namespace

Task<std::unique_ptr<BlockDevice>> open_image(std::string filename, ImageOptions options) {
  const std::optional<qcow2::SnapshotSelector> snapshot = options.snapshot;
  const bool writes_through = options.writable && storage::is_write_through(options.cache);
  const bool is_input = options.reads_pipes && filename == kStandardInput && !options.name_is_tree;
  Task<std::unique_ptr<BlockDevice>> opening =
      is_input ? open_standard_input(std::move(options)) : open_named(filename, std::move(options));
  std::unique_ptr<BlockDevice> device =
      co_await with_prefix(std::move(opening), fmt::format("Could not open '{}'", filename));
  device->set_writes_through(writes_through);
  if (!snapshot) co_return device;
  std::optional<Error> failure;
  try {
    co_await load_snapshot(device.get(), *snapshot);
  } catch (const Error& error) {
    failure = error.with_prefix("Failed to load snapshot");
  }
  if (failure) throw *failure;
  co_return device;
}

qcow2::Image* as_qcow2(BlockDevice* device) {
  return device == nullptr ? nullptr : dynamic_cast<qcow2::Image*>(&device->itself());
}

}  // namespace byre::open
