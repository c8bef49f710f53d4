// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "codec/luks_header.h"
#include "open/open.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/snapshot.h"

namespace byre::jobs {

// What can be found out about an image without reading its data: the report of `info`.

struct Qcow2Info {
  qcow2::layout::Header header;
  // Empty if the guest's data is in an external data file: QEMU lists none there, because it cannot
  // use them.
  std::vector<qcow2::layout::Snapshot> snapshots;
  std::vector<qcow2::layout::BitmapEntry> bitmaps;
  // As stored in the image; the image may have a name without the bit that makes it valid.
  std::optional<std::string> data_filename;
  std::optional<codec::LuksHeader> luks;
  std::string backing_filename;  // as stored in the image; empty: none
  std::string backing_format;    // empty: not stored in the image
  std::string backing_path;      // relative to where the image was opened
};

struct ChildInfo;

// An image, or one of the devices below it.
struct ImageInfo {
  std::string filename;
  std::string format;  // "raw", "qcow2", "file", ...
  uint64_t size = 0;
  std::optional<uint64_t> allocated_size;
  std::optional<uint64_t> cluster_size;  // also for a device without one whose child has it
  std::optional<bool> is_dirty;          // likewise; nothing: unknown
  std::optional<Qcow2Info> qcow2;
  uint64_t extent_size_hint = 0;    // of a file, for its file system; 0: none
  std::vector<ChildInfo> children;  // in QEMU's order

  // A file, or any other device with nothing below it.
  bool is_storage() const { return children.empty(); }
};

struct ChildInfo {
  std::string name;  // "file"
  ImageInfo info;
};

// The same for an open device.
Task<ImageInfo> device_info(BlockDevice& device);

// Opens the image, without the files that it names, inspects it, and closes it.
Task<ImageInfo> image_info(std::string filename, open::ImageOptions options);

// The image and the images below it, in order. Throws Error with QEMU's message if the chain
// returns to an image that it has passed, under whatever name.
Task<std::vector<ImageInfo>> chain_info(std::string filename, open::ImageOptions options);

// A backing file's name from an image, resolved relative to the image's directory. Names with a
// protocol ("nbd:...") are not changed.
std::string backing_path(const std::string& image_filename, const std::string& backing_filename);

}  // namespace byre::jobs
