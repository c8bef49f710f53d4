// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "unit/qcow2/image_with_bitmaps.h"
#include "unit/qcow2/writing_test.h"

// An image with snapshots whose properties a test changes.
namespace byre::qcow2::test {

inline NewSnapshot snapshot_named(std::string name) {
  NewSnapshot snapshot;
  snapshot.name = std::move(name);
  return snapshot;
}

// What the disk and each snapshot contain.
using Contents = std::vector<std::vector<uint8_t>>;

inline Task<std::vector<uint8_t>> read_contents(Disks disks, std::optional<uint64_t> backing_size,
                                                std::optional<std::string> snapshot) {
  const OpenOptions options;
  OpenImage opened = co_await open_disks(std::move(disks), backing_size, options);
  if (snapshot) {
    SnapshotSelector selector;
    selector.name = *snapshot;
    co_await opened.image->load_snapshot(selector);
  }
  std::vector<uint8_t> bytes = co_await read_all(opened.image.get());
  co_await opened.image->close();
  co_return bytes;
}

inline Contents contents_of(const Disks& disks, const std::vector<std::string>& snapshots,
                            std::optional<uint64_t> backing_size) {
  Contents contents{sync_wait(read_contents(clone(disks), backing_size, std::nullopt))};
  for (const std::string& name : snapshots) {
    contents.push_back(sync_wait(read_contents(clone(disks), backing_size, name)));
  }
  return contents;
}

class AmendTest : public WritingTest {
 protected:
  void create(const std::string& name) {
    loop_.run(image().create_snapshot(snapshot_named(name)));
    names_.push_back(name);
  }
  Contents contents() { return contents_of(opened_.snapshot(), names_, backing_size_); }
  void reopen(const Layout& layout) {
    loop_.run(image().close());
    open(opened_.snapshot(), layout);
  }
  void set_bits(uint32_t bits) { loop_.run(image().set_refcount_bits(bits, nullptr)); }
  void downgrade(bool drops_bitmaps = false) {
    loop_.run(image().downgrade(drops_bitmaps, nullptr));
  }
  void upgrade() { loop_.run(image().upgrade()); }
  // What the header in the file says.
  layout::Header header_in_file() {
    const auto& file = *opened_.file_memory;
    const auto first = file.get(0, layout::Header::kProbeSize);
    return layout::Header::parse(file.get(0, layout::Header::probe_cluster_size(first)),
                                 {.for_check = true});
  }

  std::vector<std::string> names_;
  std::optional<uint64_t> backing_size_;
};

}  // namespace byre::qcow2::test
