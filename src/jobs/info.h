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

// What one can know about an image without reading its data: the report of `info`.

struct Qcow2Info {
  qcow2::layout::Header header;
  // None where the guest's data lies in an external data file: QEMU lists none there, because it
  // cannot use them.
  std::vector<qcow2::layout::Snapshot> snapshots;
  std::vector<qcow2::layout::BitmapEntry> bitmaps;
  // As it stands in the image; the image may have a name, and not the bit that makes it count.
  std::optional<std::string> data_filename;
  std::optional<codec::LuksHeader> luks;
  std::string backing_filename;  // as it stands in the image; empty: none
  std::string backing_format;    // empty: the image does not say
  std::string backing_path;      // seen from where the image was opened
};

struct ChildInfo;

// An image, or one of the devices that it stands on.
struct ImageInfo {
  std::string filename;
  std::string format;  // "raw", "qcow2", "file", ...
  uint64_t size = 0;
  std::optional<uint64_t> allocated_size;
  std::optional<uint64_t> cluster_size;  // as devices without one see it through from below
  std::optional<bool> is_dirty;          // the same; nothing: nobody knows
  std::optional<Qcow2Info> qcow2;
  uint64_t extent_size_hint = 0;    // of a file, for its file system; 0: none
  std::vector<ChildInfo> children;  // in QEMU's order

  // A file, or whatever has nothing below it.
  bool is_storage() const { return children.empty(); }
};

struct ChildInfo {
  std::string name;  // "file"
  ImageInfo info;
};

// The same of a device that is open.
Task<ImageInfo> device_info(BlockDevice& device);

// Opens the image, without what it names, looks, and closes it.
Task<ImageInfo> image_info(std::string filename, open::ImageOptions options);

// The image and, one after the other, what lies below it. Throws Error in QEMU's words where the
// chain comes back to an image that it has passed, under whatever name.
Task<std::vector<ImageInfo>> chain_info(std::string filename, open::ImageOptions options);

// A backing file's name as it stands in an image, seen from that image: relative names count from
// the image's folder. Names with a protocol ("nbd:...") stay as they are.
std::string backing_path(const std::string& image_filename, const std::string& backing_filename);

}  // namespace byre::jobs
