// SPDX-License-Identifier: Apache-2.0
#include "qcow2/header_update.h"

#include <utility>

#include "async/when_all.h"
#include "qcow2/image_state.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

class HeaderUpdates : public WritingTest {};

constexpr uint64_t kUnknownAutoclear = uint64_t{1} << 40;

Task<void> change(Image::State* state, HeaderUpdate::FeatureChange change) {
  HeaderUpdate update(state);
  co_await update.change_features(change);
}

TEST_F(HeaderUpdates, TwoThatChangeDifferentFeatureBitsAtATimeKeepOneAnothers) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Disks disks = make_disks(layout_of(kMiB, 65536));
    std::vector<uint8_t> autoclear(8);
    store_big_endian(autoclear.data(), kUnknownAutoclear);
    disks.file->put(88, autoclear);
    open(std::move(disks), layout_of(kMiB, 65536));
    Image::State& state = image().state();
    state.write_state = std::make_unique<WriteState>(&state);
    opened_.file->set_delays(seed, 5);
    std::vector<Task<void>> changes;
    changes.push_back(change(&state, {.incompatible_set = layout::incompatible::kDirty,
                                      .autoclear_cleared = kUnknownAutoclear}));
    changes.push_back(change(&state, {.incompatible_set = layout::incompatible::kCorrupt}));
    loop_.run(when_all(std::move(changes)));
    const layout::HeaderCluster found =
        layout::HeaderCluster::parse(opened_.file_memory->get(0, 65536), {.for_check = true});
    EXPECT_EQ(found.header.incompatible_features,
              layout::incompatible::kDirty | layout::incompatible::kCorrupt);
    EXPECT_EQ(found.header.autoclear_features, 0u);
    EXPECT_EQ(image().header().incompatible_features, found.header.incompatible_features);
  }
}

TEST_F(HeaderUpdates, NothingIsWrittenWhereNoBitChanges) {
  open(layout_of(kMiB, 65536));
  Image::State& state = image().state();
  state.write_state = std::make_unique<WriteState>(&state);
  opened_.file->clear_events();
  loop_.run(change(&state, {.incompatible_cleared = layout::incompatible::kDirty,
                            .autoclear_cleared = kUnknownAutoclear}));
  EXPECT_TRUE(opened_.file->events().empty());
}

}  // namespace
}  // namespace byre::qcow2::test
