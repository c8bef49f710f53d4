// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "block/block_device.h"
#include "codec/codec.h"

namespace byre::qcow2 {

// The description of a new image: the options of `qemu-img create -f qcow2 -o ...`, parsed.
// Defaults are QEMU's. Sizes in bytes.
struct CreateOptions {
  uint64_t size = 0;
  uint64_t cluster_size = 65536;
  int version = 3;  // 2: compat=0.10
  uint64_t refcount_bits = 16;
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  CompressionType compression_type = CompressionType::kZlib;
  Preallocation preallocation = Preallocation::kOff;
  std::optional<std::string> backing_filename;  // as it is stored in the image
  std::optional<std::string> backing_format;
  std::optional<std::string> data_filename;  // as it is stored in the image
  bool data_file_raw = false;
};

// Throws Error if the options contradict each other or exceed a limit. The order of the checks is
// QEMU's, so that of two mistakes the same one is reported.
void validate(const CreateOptions& options);

// The same for errors that only encoding the header finds, such as names that are too long.
// create() does it itself; call it to find them before an old image is overwritten.
void validate_header(const CreateOptions& options);

// Writes a new, empty image to `file`, which is empty and writable, and flushes it. `data_file` is
// the external data file if the options name one, else nullptr. After a failure `file` does not
// contain anything that opens as an image.
Task<void> create(BlockDevice& file, BlockDevice* data_file, CreateOptions options);

// The size of a new file in bytes, metadata included, as `qemu-img measure` gives it.
struct ImageSize {
  uint64_t required = 0;
  uint64_t fully_allocated = 0;
};
// `allocated_clusters_size`: bytes of guest clusters that hold data.
ImageSize measure(const CreateOptions& options, uint64_t allocated_clusters_size);

}  // namespace byre::qcow2
