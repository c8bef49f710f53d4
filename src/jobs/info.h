// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "codec/codec.h"
#include "codec/luks_header.h"
#include "open/open.h"

namespace byre::jobs {

// What can be found out about an image without reading its data: the report of `info`.

// An internal snapshot.
struct SnapshotInfo {
  std::string id;
  std::string name;
  uint64_t vm_state_size = 0;  // bytes
  uint32_t date_sec = 0;       // since the Epoch
  uint32_t date_nsec = 0;
  uint64_t vm_clock_nsec = 0;
  // The number of instructions that the guest had executed, if that was counted. QEMU shows it as a
  // signed number.
  std::optional<int64_t> instruction_count;
};

struct BitmapInfo {
  std::string name;  // as it is shown
  uint64_t granularity = 0;
  bool in_use = false;
  bool is_auto = false;
};

enum class Encryption { kNone, kAes, kLuks };

struct Qcow2Info {
  uint32_t version = 3;
  CompressionType compression_type = CompressionType::kZlib;
  uint32_t refcount_bits = 16;
  bool has_lazy_refcounts = false;
  bool is_corrupt = false;
  bool has_extended_l2 = false;
  bool has_data_file = false;
  bool has_raw_data_file = false;
  Encryption encryption = Encryption::kNone;
  uint64_t vm_state_offset = 0;  // as a guest offset
  // Empty if the guest's data is in an external data file: QEMU lists none there, because it cannot
  // use them.
  std::vector<SnapshotInfo> snapshots;
  std::vector<BitmapInfo> bitmaps;
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

// The snapshots of an image, in the order of its snapshot table.
std::vector<SnapshotInfo> snapshot_infos(const qcow2::Image& image);

// The same for an open device.
Task<ImageInfo> device_info(BlockDevice& device);

// Opens the image, without the files that it names, inspects it, and closes it.
Task<ImageInfo> image_info(std::string filename, open::ImageOptions options);

// The image and the images below it, in order. Throws Error if the chain
// returns to an image that it has passed, under whatever name.
Task<std::vector<ImageInfo>> chain_info(std::string filename, open::ImageOptions options);

}  // namespace byre::jobs
