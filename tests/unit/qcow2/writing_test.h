// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <utility>
#include <vector>

#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/snapshot.h"
#include "unit/qcow2/written_image.h"

// An image that a test opens for writing, writes to and examines.
namespace byre::qcow2::test {

void share_everything(storage::MemoryDevice& file, uint64_t cluster_size);

class WritingTest : public testing::Test {
 protected:
  void open(const Layout& layout) { open(make_disks(layout), layout); }
  void open(Disks disks, const Layout& layout, OpenOptions options = for_writing()) {
    opened_ = loop_.run(open_disks(std::move(disks), layout.backing_size, std::move(options)));
  }
  void open(const Layout& layout, OpenOptions options) {
    open(make_disks(layout), layout, std::move(options));
  }
  Image& image() { return *opened_.image; }
  ImageParts& parts() { return *opened_.parts; }
  void write(uint64_t offset, const std::vector<uint8_t>& bytes,
             WriteFlags flags = WriteFlags::kNone) {
    loop_.run(image().write(offset, ConstBytes(bytes), flags));
  }
  std::vector<uint8_t> read(uint64_t offset, uint64_t length) {
    std::vector<uint8_t> bytes(length);
    loop_.run(image().read(offset, Bytes(bytes)));
    return bytes;
  }
  void zero(uint64_t offset, uint64_t length, WriteFlags flags = WriteFlags::kNone) {
    loop_.run(image().write_zeroes(offset, length, flags));
  }
  void discard(uint64_t offset, uint64_t length) { loop_.run(image().discard(offset, length)); }
  void flush() { loop_.run(image().flush()); }
  // The error that a call throws.
  template <class Call>
  static Error refusal(Call call) {
    try {
      call();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "it was accepted";
    return Error(ErrorKind::kInvalidArgument, EINVAL, "");
  }
  uint64_t file_count(faults::Operation operation) { return opened_.file->count(operation); }
  std::vector<Extent> extents() {
    return loop_.run(image().extents(0, image().size(), ExtentScope::kLayer));
  }
  // The contents of the snapshot of share_everything(), after the image is closed.
  std::vector<uint8_t> read_snapshot() {
    SnapshotSelector selector;
    selector.name = "before";
    OpenImage again = loop_.run(open_disks(opened_.snapshot(), {}, {}));
    loop_.run(again.image->load_snapshot(selector));
    std::vector<uint8_t> bytes = loop_.run(read_all(again.image.get()));
    loop_.run(again.image->close());
    return bytes;
  }
  void close_and_check() {
    loop_.run(image().close());
    expect_sound(opened_.snapshot(), false);
  }
  // Disks of a new image with these contents, and a snapshot that shares all of it.
  Disks shared_disks(const Layout& layout, const std::vector<uint8_t>& contents) {
    open(layout);
    write(0, contents);
    close_and_check();
    Disks disks = opened_.snapshot();
    share_everything(*disks.file, layout.create.cluster_size);
    return disks;
  }

  Loop loop_;
  OpenImage opened_;
};

// Adds a snapshot that shares everything, as the specification describes it: L1 table copied,
// refcounts incremented, no copied flags. The image has one refcount block and one L2 table.
inline void share_everything(storage::MemoryDevice& file, uint64_t cluster_size) {
  const auto load = [&](uint64_t at) { return load_big_endian<uint64_t>(file.get(at, 8).data()); };
  const auto store = [&](uint64_t at, uint64_t value) {
    uint8_t bytes[8];
    store_big_endian(bytes, value);
    file.put(at, ConstBytes(bytes));
  };
  const uint64_t l1 = load(40);
  const uint64_t block = load(load(48));
  const auto count_up = [&](uint64_t offset) {
    std::vector<uint8_t> entry = file.get(block + offset / cluster_size * 2, 2);
    store_big_endian<uint16_t>(entry.data(), load_big_endian<uint16_t>(entry.data()) + 1);
    file.put(block + offset / cluster_size * 2, entry);
  };
  const uint64_t end = align_up(file.size(), cluster_size);
  const uint64_t l2 = load(l1) & layout::L1Entry::kOffsetMask;
  for (uint64_t at = 0; at < cluster_size; at += 8) {
    const uint64_t entry = load(l2 + at);
    if (entry == 0) continue;
    ASSERT_EQ(entry & layout::L2Entry::kCompressed, 0u);
    store(l2 + at, entry & ~layout::L2Entry::kCopied);
    count_up(entry & layout::L2Entry::kOffsetMask);
  }
  store(l1, l2);
  count_up(l2);
  file.put(end, file.get(l1, 8));
  count_up(end);
  layout::Snapshot snapshot;
  snapshot.l1_table_offset = layout::HostOffset(end);
  snapshot.l1_size = 1;
  snapshot.id = "1";
  snapshot.name = "before";
  snapshot.disk_size = load(24);
  file.put(end + cluster_size, layout::encode_snapshot_table({snapshot}));
  count_up(end + cluster_size);
  file.put(63, std::vector<uint8_t>{1});
  store(64, end + cluster_size);
}

}  // namespace byre::qcow2::test
