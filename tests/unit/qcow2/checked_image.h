// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "qcow2/check/check.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "qcow2/layout/snapshot.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

// A sound image in memory that a test damages field by field, and what a check finds in it.
namespace byre::qcow2::test {

struct Checked {
  CheckResult result;
  std::vector<Finding> findings;
  std::vector<std::string> texts() const {
    std::vector<std::string> all;
    for (const Finding& finding : findings) all.push_back(problem_of(finding).message());
    return all;
  }
};

class CheckedImage {
 public:
  static CreateOptions small_options() {
    CreateOptions options;
    options.size = 64 << 10;
    options.cluster_size = 4096;
    return options;
  }

  explicit CheckedImage(CreateOptions options = small_options()) {
    sync_wait(make(std::move(options)));
  }

  storage::MemoryDevice& file() { return *file_; }
  // The external data file; nullptr: none.
  const storage::MemoryDevice* data() const { return data_.get(); }
  layout::HeaderCluster first_cluster() const {
    const std::vector<uint8_t> first = file_->get(0, layout::Header::kProbeSize);
    const uint64_t size = layout::Header::probe_cluster_size(first);
    return layout::HeaderCluster::parse(file_->get(0, size), {.for_check = true});
  }
  layout::Header header() const { return first_cluster().header; }
  layout::Geometry geometry() const { return layout::Geometry(header()); }
  uint64_t cluster_size() const { return header().cluster_size(); }

  uint64_t word(uint64_t offset) const {
    return load_big_endian<uint64_t>(file_->get(offset, 8).data());
  }
  void put_word(uint64_t offset, uint64_t value) { put(offset, value); }
  template <class T>
  void put(uint64_t offset, T value) {
    uint8_t bytes[sizeof(T)];
    store_big_endian(bytes, value);
    file_->put(offset, bytes);
  }

  // The file offsets of the entries.
  uint64_t l1_place(uint64_t index) const { return header().l1_table_offset.value() + index * 8; }
  uint64_t l2_table(uint64_t l1_index = 0) const {
    return layout::L1Entry(word(l1_place(l1_index))).offset().value();
  }
  uint64_t l2_place(uint64_t guest_cluster) const {
    const layout::Geometry shape = geometry();
    return l2_table(guest_cluster / shape.l2_entries()) +
           guest_cluster % shape.l2_entries() * shape.l2_entry_size();
  }
  uint64_t table_place(uint64_t index) const {
    return header().refcount_table_offset.value() + index * 8;
  }
  uint64_t block() const { return word(table_place(0)); }
  uint64_t data_offset(uint64_t guest_cluster) const {
    return layout::L2Entry(word(l2_place(guest_cluster))).offset().value();
  }
  uint64_t cluster_of(uint64_t offset) const { return offset / cluster_size(); }

  void set_refcount(uint64_t offset, uint64_t value) {
    const layout::Geometry shape = geometry();
    std::vector<uint8_t> bytes = file_->get(block(), cluster_size());
    layout::store_refcount(bytes, cluster_of(offset), shape.refcount_order(), value);
    file_->put(block(), bytes);
  }
  // Appends clusters with these bytes to the file, with a refcount of 1; returns their offset.
  uint64_t append(std::vector<uint8_t> bytes) {
    const uint64_t offset = geometry().clusters_for(file_->size()) * cluster_size();
    bytes.resize(geometry().clusters_for(bytes.size()) * cluster_size());
    file_->put(offset, bytes);
    for (uint64_t i = 0; i < bytes.size(); i += cluster_size()) set_refcount(offset + i, 1);
    return offset;
  }
  // Writes a snapshot table of these; the header's count becomes `count`.
  void put_snapshots(const std::vector<layout::Snapshot>& snapshots, uint32_t count) {
    const uint64_t offset = append(layout::encode_snapshot_table(snapshots));
    put<uint32_t>(60, count);
    put<uint64_t>(64, offset);
  }
  void put_snapshots(const std::vector<layout::Snapshot>& snapshots) {
    put_snapshots(snapshots, static_cast<uint32_t>(snapshots.size()));
  }

  Checked check(CheckOptions options = {}) const { return check_on(*file_, std::move(options)); }
  Checked check_on(BlockDevice& device, CheckOptions options = {}) const {
    Checked checked;
    options.on_finding = [&checked](const Finding& each) { checked.findings.push_back(each); };
    const layout::HeaderCluster first = first_cluster();
    CheckSubject subject{&device, first.header, first.extensions};
    checked.result = sync_wait(qcow2::check(std::move(subject), std::move(options)));
    return checked;
  }

 private:
  // Clusters 0 and 1 are data, 2 is an allocated zero cluster, 3 a plain zero cluster, 4 is
  // compressed if possible; the others are unallocated.
  Task<void> make(CreateOptions options) {
    auto file = std::make_unique<storage::MemoryDevice>();
    std::unique_ptr<storage::MemoryDevice> data;
    if (options.data_filename) data = std::make_unique<storage::MemoryDevice>();
    co_await create(*file, data.get(), options);
    storage::MemoryDevice* const memory = file.get();
    OpenOptions open_options;
    open_options.writable = true;
    std::unique_ptr<Image> image = co_await Image::open(std::move(file), open_options);
    const storage::MemoryDevice* const data_memory = data.get();
    const bool has_data_file = data != nullptr;
    if (has_data_file) image->set_data_file(std::move(data));
    const uint64_t size = image->geometry().cluster_size();
    std::vector<uint8_t> bytes = byre::test::pattern(0, 3 * size, 1);
    const ReadBuffers three{Bytes(bytes)};
    co_await image->write(0, three, WriteFlags::kNone);
    co_await image->write_zeroes(2 * size, size, WriteFlags::kNone);
    co_await image->write_zeroes(3 * size, size, WriteFlags::kMayUnmap);
    if (!has_data_file) {
      std::vector<uint8_t> equal(size, 0x61);
      const ReadBuffers one{Bytes(equal)};
      co_await image->write(4 * size, one, WriteFlags::kCompressed);
    }
    co_await image->flush();
    if (has_data_file) data_ = data_memory->clone();
    file_ = memory->clone();
    co_await image->close();
    file_ = memory->clone();
  }

  std::unique_ptr<storage::MemoryDevice> file_;
  std::unique_ptr<storage::MemoryDevice> data_;
};

}  // namespace byre::qcow2::test
