// SPDX-License-Identifier: Apache-2.0
#include "simulation/closed_image.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/checked.h"
#include "byre/error.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/features.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/snapshot.h"

namespace byre::simulation {

namespace {

using namespace qcow2::layout;  // NOLINT: this file is about nothing else
using storage::SparseBytes;
using Bytes8 = std::vector<uint8_t>;

// Bytes past the end read as zeroes.
Bytes8 read(const SparseBytes& image, uint64_t offset, uint64_t length) {
  Bytes8 bytes(length);
  if (offset < image.size()) {
    image.read(offset, Bytes(bytes).first(std::min(length, image.size() - offset)));
  }
  return bytes;
}

class Maker {
 public:
  explicit Maker(const SparseBytes& image)
      : image_(image),
        cluster_size_(Header::probe_cluster_size(read(image, 0, Header::kProbeSize))),
        first_(HeaderCluster::parse(read(image, 0, cluster_size_))),
        geometry_(first_.header) {}

  std::optional<SparseBytes> add_snapshot(const std::string& id, uint64_t size_max) {
    std::vector<Snapshot> snapshots = read_snapshots();
    const Bytes8 l1 = read_l1(first_.header.l1_table_offset, first_.header.l1_size);
    // The end of what is in use; clusters past it are free.
    count_all(snapshots);
    snapshots.push_back(new_snapshot(id, take(l1.size())));
    image_.write(snapshots.back().l1_table_offset.value(), without_copied(l1));
    const Bytes8 table = encode_snapshot_table(snapshots);
    first_.header.snapshots_offset = take(table.size());
    first_.header.snapshot_count = static_cast<uint32_t>(snapshots.size());
    image_.write(first_.header.snapshots_offset.value(), table);
    return finish(snapshots, size_max);
  }

  std::optional<SparseBytes> set_bitmap(uint64_t size_max) {
    const std::vector<Snapshot> snapshots = read_snapshots();
    count_all(snapshots);
    BitmapEntry bitmap;
    // An entry of zero means a cluster of the bitmap without any bits set.
    bitmap.table_size = static_cast<uint32_t>(
        bitmap_table_entries_for(first_.header.size, bitmap.granularity_bits, geometry_));
    bitmap.table_offset = take(uint64_t{bitmap.table_size} * 8);
    bitmap.flags = bitmap_flag::kAuto;
    bitmap.name = "of the simulation";
    image_.write(bitmap.table_offset.value(), Bytes8(uint64_t{bitmap.table_size} * 8));
    const Bytes8 directory = encode_bitmap_directory({bitmap});
    BitmapsExtension extension;
    extension.bitmap_count = 1;
    extension.directory_size = directory.size();
    extension.directory_offset = take(directory.size());
    image_.write(extension.directory_offset.value(), directory);
    first_.extensions.bitmaps = extension;
    first_.header.autoclear_features |= autoclear::kBitmaps;
    return finish(snapshots, size_max);
  }

 private:
  std::optional<SparseBytes> finish(const std::vector<Snapshot>& snapshots, uint64_t size_max) {
    references_.clear();
    count_all(snapshots);
    if (!write_refcounts()) return std::nullopt;
    set_copied();
    try {
      image_.write(0, first_.encode());
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kNoSpace) throw;
      return std::nullopt;  // small clusters have no space for long names and more extensions
    }
    if (align_up(image_.size(), cluster_size_) > size_max) return std::nullopt;
    return std::move(image_);
  }

  std::vector<Snapshot> read_snapshots() {
    SnapshotTableDecoder decoder(first_.header);
    while (!decoder.done()) {
      decoder.feed(read(image_, decoder.offset().value(), decoder.wanted()));
    }
    return decoder.take();
  }

  Snapshot new_snapshot(const std::string& id, HostOffset l1) const {
    Snapshot snapshot;
    snapshot.l1_table_offset = l1;
    snapshot.l1_size = first_.header.l1_size;
    snapshot.id = id;
    snapshot.name = id;
    snapshot.disk_size = first_.header.size;
    return snapshot;
  }

  Bytes8 read_l1(HostOffset offset, uint64_t entries) {
    return read(image_, offset.value(), entries * 8);
  }

  static Bytes8 without_copied(Bytes8 l1) {
    for (size_t at = 0; at < l1.size(); at += 8) {
      const L1Entry entry(load_big_endian<uint64_t>(l1.data() + at));
      store_big_endian<uint64_t>(l1.data() + at, entry.with_copied(false).word());
    }
    return l1;
  }

  // Allocates clusters past everything in use.
  HostOffset take(uint64_t size) {
    const uint64_t offset = end_;
    end_ += align_up(std::max<uint64_t>(size, 1), cluster_size_);
    return HostOffset(offset);
  }

  void count(HostOffset offset, uint64_t length) {
    if (length == 0) return;
    const uint64_t last = (offset.value() + length - 1) / cluster_size_;
    for (uint64_t cluster = offset.value() / cluster_size_; cluster <= last; ++cluster) {
      ++references_[cluster];
    }
    end_ = std::max(end_, (last + 1) * cluster_size_);
  }

  void count_l1(HostOffset offset, uint64_t entries) {
    count(offset, entries * 8);
    const Bytes8 l1 = read_l1(offset, entries);
    for (size_t at = 0; at < l1.size(); at += 8) {
      const L1Entry entry(load_big_endian<uint64_t>(l1.data() + at));
      if (!entry.offset().is_zero()) count_l2(entry.offset());
    }
  }

  void count_l2(HostOffset offset) {
    count(offset, cluster_size_);
    const Bytes8 table = read(image_, offset.value(), cluster_size_);
    for (uint32_t i = 0; i < geometry_.l2_entries(); ++i) {
      const L2Entry entry = L2Entry::load(table, i, geometry_);
      if (entry.is_compressed()) {
        const CompressedRange range = entry.compressed_range(geometry_);
        count(range.offset, range.size);
      } else if (entry.has_offset(geometry_)) {
        count(entry.offset(), cluster_size_);
      }
    }
  }

  void count_all(const std::vector<Snapshot>& snapshots) {
    count(HostOffset(0), cluster_size_);
    count_l1(first_.header.l1_table_offset, first_.header.l1_size);
    for (const Snapshot& snapshot : snapshots) {
      count_l1(snapshot.l1_table_offset, snapshot.l1_size);
    }
    if (!snapshots.empty()) {
      count(first_.header.snapshots_offset, encode_snapshot_table(snapshots).size());
    }
    if (!first_.extensions.bitmaps) return;
    const BitmapsExtension& bitmaps = *first_.extensions.bitmaps;
    const Bytes8 directory = read(image_, bitmaps.directory_offset.value(), bitmaps.directory_size);
    count(bitmaps.directory_offset, directory.size());
    for (const BitmapEntry& bitmap :
         parse_bitmap_directory(directory, bitmaps, geometry_, first_.header.size)) {
      count(bitmap.table_offset, uint64_t{bitmap.table_size} * 8);
    }
  }

  // Writes a new table and all its blocks, past everything else.
  bool write_refcounts() {
    const uint64_t per_block = geometry_.refcount_block_entries();
    const uint64_t begin = end_ / cluster_size_;
    uint64_t blocks = 0;
    uint64_t table_clusters = 0;
    for (uint64_t clusters = begin;; clusters = begin + table_clusters + blocks) {
      const uint64_t blocks_now = div_ceil(clusters, per_block);
      const uint64_t table_now = geometry_.clusters_for_entries(blocks_now);
      if (blocks_now == blocks && table_now == table_clusters) break;
      blocks = blocks_now;
      table_clusters = table_now;
    }
    const HostOffset table = take((table_clusters + blocks) * cluster_size_);
    count(table, (table_clusters + blocks) * cluster_size_);
    Bytes8 entries(table_clusters * cluster_size_);
    Bytes8 counts(blocks * cluster_size_);
    for (uint64_t i = 0; i < blocks; ++i) {
      const HostOffset block = table + (table_clusters + i) * cluster_size_;
      store_big_endian<uint64_t>(entries.data() + i * 8, RefcountTableEntry::block(block).word());
    }
    for (const auto& [cluster, references] : references_) {
      if (references > geometry_.refcount_max()) return false;
      const Bytes block = Bytes(counts).subspan(cluster / per_block * cluster_size_, cluster_size_);
      store_refcount(block, cluster % per_block, geometry_.refcount_order(), references);
    }
    image_.write(table.value(), entries);
    image_.write((table + entries.size()).value(), counts);
    first_.header.refcount_table_offset = table;
    first_.header.refcount_table_clusters = static_cast<uint32_t>(table_clusters);
    return true;
  }

  // Sets the copied flags of the active disk's entries according to the refcounts.
  void set_copied() {
    const uint64_t l1_offset = first_.header.l1_table_offset.value();
    Bytes8 l1 = read_l1(first_.header.l1_table_offset, first_.header.l1_size);
    for (size_t at = 0; at < l1.size(); at += 8) {
      const L1Entry entry(load_big_endian<uint64_t>(l1.data() + at));
      if (entry.offset().is_zero()) continue;
      const bool is_own = is_single(entry.offset());
      store_big_endian<uint64_t>(l1.data() + at, entry.with_copied(is_own).word());
      Bytes8 table = read(image_, entry.offset().value(), cluster_size_);
      for (uint32_t i = 0; i < geometry_.l2_entries(); ++i) {
        const L2Entry l2 = L2Entry::load(table, i, geometry_);
        if (l2.is_compressed() || !l2.has_offset(geometry_)) continue;
        l2.with_copied(is_single(l2.offset())).store(table, i, geometry_);
      }
      image_.write(entry.offset().value(), table);
    }
    image_.write(l1_offset, l1);
  }

  bool is_single(HostOffset offset) const {
    return references_.at(offset.value() / cluster_size_) == 1;
  }

  SparseBytes image_;
  uint64_t cluster_size_;
  HeaderCluster first_;
  Geometry geometry_;
  uint64_t end_ = 0;
  std::map<uint64_t, uint64_t> references_;  // by cluster
};

}  // namespace

std::optional<SparseBytes> make_snapshot(const SparseBytes& image, const std::string& id,
                                         uint64_t size_max) {
  return Maker(image).add_snapshot(id, size_max);
}

std::optional<SparseBytes> make_bitmap(const SparseBytes& image, uint64_t size_max) {
  return Maker(image).set_bitmap(size_max);
}

}  // namespace byre::simulation
