// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/header_store.h"

#include <new>
#include <utility>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "testing/memory_faults.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class HeaderStores : public WritingTest {};

constexpr uint64_t kUnknownAutoclear = uint64_t{1} << 40;

TEST_F(HeaderStores, ConcurrentChangesOfDifferentFeatureBitsAreBothKept) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Disks disks = make_disks(layout_of(kMiB, 65536));
    std::vector<uint8_t> autoclear(8);
    store_big_endian(autoclear.data(), kUnknownAutoclear);
    disks.file->put(88, autoclear);
    open(std::move(disks), layout_of(kMiB, 65536));
    HeaderStore& store = parts().context.header_store;
    opened_.file->set_delays(seed, 5);
    std::vector<Task<void>> changes;
    changes.push_back(store.change_features({.incompatible_set = layout::incompatible::kDirty,
                                             .autoclear_cleared = kUnknownAutoclear}));
    changes.push_back(store.change_features({.incompatible_set = layout::incompatible::kCorrupt}));
    loop_.run(when_all(std::move(changes)));
    const layout::HeaderCluster found =
        layout::HeaderCluster::parse(opened_.file_memory->get(0, 65536), {.for_check = true});
    EXPECT_EQ(found.header.incompatible_features,
              layout::incompatible::kDirty | layout::incompatible::kCorrupt);
    EXPECT_EQ(found.header.autoclear_features, 0u);
    EXPECT_EQ(image().header().incompatible_features, found.header.incompatible_features);
  }
}

TEST_F(HeaderStores, NothingIsWrittenIfNoBitChanges) {
  open(layout_of(kMiB, 65536));
  HeaderStore& store = parts().context.header_store;
  opened_.file->clear_events();
  loop_.run(store.change_features({.incompatible_cleared = layout::incompatible::kDirty,
                                   .autoclear_cleared = kUnknownAutoclear}));
  EXPECT_TRUE(opened_.file->events().empty());
}

// Whatever can be allocated: if the file may have another header than the image has in memory, the
// image refuses writes.
TEST_F(HeaderStores, AChangeWithoutMemoryIsNotForgotten) {
  bool is_done = false;
  for (uint64_t number = 1; !is_done; ++number) {
    open(layout_of(kMiB, 65536));
    HeaderStore& store = parts().context.header_store;
    Task<void> change = store.set_size(2 * kMiB);
    faults::MemoryFaults::begin_all_from(number);
    try {
      loop_.run(std::move(change));
      is_done = true;
    } catch (const std::bad_alloc&) {
    } catch (const Error&) {
    }
    is_done = is_done && faults::MemoryFaults::failed() == 0;
    faults::MemoryFaults::end();
    const uint64_t in_file = load_big_endian<uint64_t>(opened_.file_memory->get(24, 8).data());
    if (in_file == store.header().size) continue;
    EXPECT_THROW(parts().context.health.check_may_write(), Error) << number;
  }
}

}  // namespace
}  // namespace byre::qcow2::test
