// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/checked.h"
#include "codec/codec.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "storage/memory_device.h"
#include "unit/support/pattern.h"

namespace byre::qcow2::test {

using byre::test::pattern;
using byre::test::pattern_byte;
using layout::GuestOffset;
using layout::HostOffset;
using layout::L1Entry;
using layout::L2Entry;

// An image built entry by entry in memory, sound or broken as a test needs it. Clusters are
// allocated at the end of the file. Refcounts are all 0: readers do not look at them.
class ImageBuilder {
 public:
  struct Options {
    uint64_t size = 1 << 20;
    uint32_t cluster_bits = 16;
    uint32_t version = 3;
    bool extended_l2 = false;
    bool external_data_file = false;
    CompressionType compression = CompressionType::kZlib;
    std::string backing_filename;
  };

  ImageBuilder() : ImageBuilder(Options{}) {}
  explicit ImageBuilder(Options options)
      : options_(options), file_(std::make_unique<storage::MemoryDevice>(0, "test.qcow2")) {
    layout::Header& header = first_cluster.header;
    header.version = options.version;
    header.header_length = options.version == 2 ? 72 : 112;
    header.cluster_bits = options.cluster_bits;
    header.size = options.size;
    if (options.extended_l2) header.incompatible_features |= layout::incompatible::kExtendedL2;
    if (options.external_data_file) {
      header.incompatible_features |= layout::incompatible::kExternalDataFile;
      first_cluster.extensions.data_file_name = "data.raw";
    }
    if (options.compression == CompressionType::kZstd) {
      header.incompatible_features |= layout::incompatible::kCompressionType;
      header.compression_type = CompressionType::kZstd;
    }
    first_cluster.backing_file_name = options.backing_filename;
    end_ = header.cluster_size();
    header.refcount_table_offset = take_clusters(1);
    header.refcount_table_clusters = 1;
    const layout::Geometry shape = geometry();
    header.l1_size = static_cast<uint32_t>(shape.l1_entries_for(options.size));
    header.l1_table_offset = take_clusters(shape.clusters_for_entries(header.l1_size));
  }

  layout::Geometry geometry() const { return layout::Geometry(first_cluster.header); }
  uint64_t cluster_size() const { return first_cluster.header.cluster_size(); }
  storage::MemoryDevice& file() { return *file_; }

  // Allocates `count` consecutive clusters of zeroes.
  HostOffset take_clusters(uint64_t count) {
    const HostOffset result(end_);
    end_ += count * cluster_size();
    file_->put(end_ - 1, std::vector<uint8_t>{0});
    return result;
  }

  void set_l1(uint64_t index, L1Entry entry) {
    put_word(first_cluster.header.l1_table_offset + index * 8, entry.word());
  }

  // The L2 table for the guest cluster, created if there is none.
  HostOffset l2_table(uint64_t guest_cluster) {
    const uint64_t index = guest_cluster / geometry().l2_entries();
    HostOffset& table = l2_tables_[index];
    if (table.is_zero()) {
      table = take_clusters(1);
      set_l1(index, L1Entry::table(table, true));
    }
    return table;
  }

  void set_l2(uint64_t guest_cluster, L2Entry entry) {
    const layout::Geometry shape = geometry();
    const uint64_t index = guest_cluster % shape.l2_entries();
    const HostOffset place = l2_table(guest_cluster) + index * shape.l2_entry_size();
    put_word(place, entry.word());
    if (shape.extended_l2()) put_word(place + 8, entry.bitmap());
  }

  // Adds a data cluster with the pattern of its guest offset; returns its host offset.
  HostOffset put_data(uint64_t guest_cluster, uint64_t seed) {
    const HostOffset host = take_clusters(1);
    put_data_at(guest_cluster, host, seed);
    return host;
  }
  void put_data_at(uint64_t guest_cluster, HostOffset host, uint64_t seed) {
    file_->put(host.value(), pattern(guest_cluster * cluster_size(), cluster_size(), seed));
    set_l2(guest_cluster, L2Entry::normal(host, true, geometry()));
  }

  // Adds a compressed cluster with these bytes, which must be compressible: directly after the
  // previous one, unless other clusters have been allocated there since.
  HostOffset put_compressed(uint64_t guest_cluster, const std::vector<uint8_t>& bytes) {
    const auto compressor = codec::Compressor::make(options_.compression);
    std::vector<uint8_t> packed(cluster_size());
    const std::optional<size_t> size = compressor->compress(bytes, packed);
    BYRE_ASSERT(size.has_value());
    l2_table(guest_cluster);
    const uint64_t room_end = align_up(compressed_end_, cluster_size());
    const bool fits = compressed_end_ + *size <= room_end || room_end == end_;
    const HostOffset host(fits && compressed_end_ != 0 ? compressed_end_
                                                       : take_clusters(1).value());
    compressed_end_ = host.value() + *size;
    if (compressed_end_ > end_) take_clusters(1);
    file_->put(host.value(), ConstBytes(packed).first(*size));
    set_l2(guest_cluster, L2Entry::compressed(host, *size, geometry()));
    return host;
  }

  void put_word(HostOffset offset, uint64_t word) {
    uint8_t bytes[8];
    store_big_endian(bytes, word);
    file_->put(offset.value(), bytes);
  }

  // Returns the file with its header; the builder is empty afterwards.
  std::unique_ptr<storage::MemoryDevice> finish() {
    file_->put(0, first_cluster.encode());
    return std::move(file_);
  }
  std::unique_ptr<Image> open(OpenOptions options = {}) {
    return sync_wait(Image::open(finish(), std::move(options)));
  }
  // Opens only its parts.
  std::unique_ptr<ImageParts> open_parts(OpenOptions options = {}) {
    return sync_wait(ImageParts::open(finish(), std::move(options)));
  }

  layout::HeaderCluster first_cluster;

 private:
  Options options_;
  std::unique_ptr<storage::MemoryDevice> file_;
  uint64_t end_ = 0;
  uint64_t compressed_end_ = 0;
  std::map<uint64_t, HostOffset> l2_tables_;
};

// Text-like bytes, which compress.
inline std::vector<uint8_t> compressible(size_t size, uint64_t seed) {
  std::vector<uint8_t> bytes = pattern(0, size, seed);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>('a' + bytes[i - i % 7] % 8);
  return bytes;
}

inline std::vector<uint8_t> read(BlockDevice& device, uint64_t offset, size_t length) {
  std::vector<uint8_t> bytes(length, 0xee);
  sync_wait(device.read(offset, Bytes(bytes)));
  return bytes;
}

}  // namespace byre::qcow2::test
