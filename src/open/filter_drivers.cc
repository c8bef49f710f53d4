// SPDX-License-Identifier: Apache-2.0
// The drivers "copy-on-read" and "compress".
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "filter/compress_device.h"
#include "filter/copy_on_read_device.h"
#include "open/driver.h"

namespace byre::open {

namespace {

Task<Node> open_copy_on_read(Chain&, NodeRequest& request) {
  if (request.file->device->is_read_only()) {
    throw Error(ErrorKind::kPermission, EPERM, "Block node is read-only",
                "copy-on-read needs a writable image below it");
  }
  const auto bottom = request.options.take_text("bottom");
  if (bottom) {
    throw Error(ErrorKind::kNotFound, ENOENT, fmt::format("Bottom node '{}' not found", *bottom));
  }
  request.describe_child("file", *request.file);
  Node node;
  node.description = request.description_text();
  auto device = std::make_unique<filter::CopyOnReadDevice>(std::move(request.file->device),
                                                           request.json_name());
  if (!request.flags.writable) device->set_read_only();
  node.device = std::move(device);
  co_return node;
}

// Refuses formats without compressed writes. A qcow2 image is accepted even if its external data file
// rules them out; its writes then fail.
void check_compresses(BlockDevice* device) {
  if (device->limits().compressed_write_size != 0 || as_qcow2(device) != nullptr) return;
  throw Error(
      ErrorKind::kUnsupported, ENOTSUP,
      fmt::format("Compression is not supported for underlying format: {}", device->driver()));
}

Task<Node> open_compress(Chain&, NodeRequest& request) {
  check_compresses(request.file->device.get());
  request.describe_child("file", *request.file);
  Node node;
  node.description = request.description_text();
  node.device = std::make_unique<filter::CompressDevice>(std::move(request.file->device),
                                                         request.json_name());
  co_return node;
}

}  // namespace

const Driver kCopyOnReadDriver{
    .name = "copy-on-read", .is_filter = true, .open = open_copy_on_read};
const Driver kCompressDriver{.name = "compress", .is_filter = true, .open = open_compress};

}  // namespace byre::open
