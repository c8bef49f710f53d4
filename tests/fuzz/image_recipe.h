// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fuzz/fuzz_input.h"
#include "qcow2/create/create.h"
#include "storage/memory_device.h"

namespace byre::fuzz {

// Consumes five bytes of the input and makes options for a new image from them; not every choice is
// valid. Images are small, so that they have all kinds of tables and a run stays short.
inline qcow2::CreateOptions take_recipe(FuzzInput* input) {
  static constexpr uint64_t kClusterSizes[] = {512, 1024, 2048, 4096, 512, 1024, 16384, 32768};
  const uint8_t shape = input->byte();
  const uint8_t counting = input->byte();
  const uint8_t files = input->byte();
  const uint16_t size = input->word();
  qcow2::CreateOptions options;
  options.cluster_size = kClusterSizes[shape % 8];
  options.extended_l2 = shape % 8 >= 6 && (shape & 8) != 0;
  options.version = (shape & 0x70) == 0x70 ? 2 : 3;
  options.preallocation = (shape & 0x80) != 0 ? Preallocation::kMetadata : Preallocation::kOff;
  options.refcount_bits = options.version == 2 ? 16 : uint64_t{1} << (counting & 7) % 7;
  options.lazy_refcounts = options.version == 3 && (counting & 8) != 0;
  const bool is_zstd = options.version == 3 && (counting & 16) != 0;
  options.compression_type = is_zstd ? CompressionType::kZstd : CompressionType::kZlib;
  if ((files & 3) == 1) {
    options.backing_filename = "backing";
    options.backing_format = "raw";
  }
  if ((files & 12) == 4 && options.version == 3) {
    options.data_filename = "data";
    options.data_file_raw = (files & 16) != 0;
  }
  options.size = (uint64_t{size} >> 2 & 0x3f) * options.cluster_size + (size & 3) * 512;
  // Several L2 tables even if one maps much.
  if ((size & 0x8000) != 0) options.size += options.cluster_size * (options.cluster_size / 8);
  return options;
}

inline constexpr uint64_t kBackingSize = 17000;

inline const storage::MemoryDevice& backing_contents() {
  static const storage::MemoryDevice device(ConstBytes(std::vector<uint8_t>(kBackingSize, 0x5a)));
  return device;
}

// What images with a backing file are on: all bytes 0x5a.
inline std::unique_ptr<BlockDevice> backing_file() {
  std::unique_ptr<storage::MemoryDevice> device = backing_contents().clone();
  device->set_read_only(true);
  return device;
}

}  // namespace byre::fuzz
