// SPDX-License-Identifier: Apache-2.0
#include "qcow2/core/header_store.h"

#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "testing/memory_faults.h"
#include "testing/simulated_disk.h"
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

// An image on a simulated disk; each test changes its backing file.
struct NameChange {
  const char* description;
  CreateOptions options;
  std::string name;
  std::string format;
};

std::vector<NameChange> name_changes() {
  std::vector<NameChange> all;
  for (const uint32_t version : {2u, 3u}) {
    for (const uint64_t cluster_size : {512, 1024, 65536}) {
      const auto add = [&](const char* description, std::string old, std::string name,
                           std::string format) {
        CreateOptions options;
        options.size = kMiB;
        options.cluster_size = cluster_size;
        options.version = version;
        if (!old.empty()) {
          options.backing_filename = old;
          options.backing_format = "raw";
        }
        all.push_back({description, options, std::move(name), std::move(format)});
      };
      add("none to some", "", "base", "qcow2");
      add("some to none", "base", "", "");
      add("format goes", "base", "other", "");
      add("longer", "base", std::string(300, 'n'), "qcow2");
      add("shorter", std::string(300, 'o'), "new", "qcow2");
      add("long to long", std::string(330, 'o'), std::string(330, 'n'), "host_device");
    }
  }
  return all;
}

TEST(HeaderStorePowerCut, LeavesTheOldOrTheNewBackingFile) {
  for (const NameChange& change : name_changes()) {
    SCOPED_TRACE(testing::Message() << change.description << ", version " << change.options.version
                                    << ", clusters of " << change.options.cluster_size);
    Layout layout;
    layout.create = change.options;
    const Disks disks = make_disks(layout);
    storage::SparseBytes contents(disks.file->size());
    contents.write(0, disks.file->get(0, disks.file->size()));
    auto disk = std::make_unique<faults::SimulatedDisk>(faults::SimulatedCache(std::move(contents)),
                                                        faults::SimulatedDisk::Options{.seed = 3});
    faults::SimulatedDisk* const simulated = disk.get();
    Loop loop({.seed = 3});
    const std::unique_ptr<Image> image = loop.run(Image::open(std::move(disk), for_writing()));
    const std::pair<std::string, std::string> before{image->backing_filename(),
                                                     image->backing_format()};
    const std::pair<std::string, std::string> after{change.name, change.format};
    uint64_t cuts = 0;
    const auto names_after_cut = [&](uint64_t seed) {
      std::vector<uint8_t> bytes(change.options.cluster_size);
      simulated->cache().power_cut(seed).read(0, bytes);
      const auto found = layout::HeaderCluster::parse(bytes);
      return std::pair(found.backing_file_name, found.extensions.backing_format.value_or(""));
    };
    simulated->set_on_moment([&](faults::SimulatedDisk::Moment, uint64_t) {
      for (int i = 0; i < 8 && !testing::Test::HasFailure(); ++i) {
        const auto names = names_after_cut(cuts++);
        EXPECT_TRUE(names == before || names == after) << names.first;
      }
    });
    loop.run(image->change_backing_file(change.name, change.format));
    simulated->set_on_moment(nullptr);
    EXPECT_GT(cuts, 20u);
    EXPECT_EQ(names_after_cut(1), after);
    EXPECT_EQ(image->backing_filename(), change.name);
    EXPECT_EQ(image->backing_format(), change.format);
    loop.run(image->close());
    EXPECT_EQ(names_after_cut(1), after);
  }
}

TEST_F(HeaderStores, NamesThatNoHeaderCanHaveAreRefused) {
  open(layout_of(kMiB, 512));
  const auto refused = [this](const std::string& name, const std::string& format) {
    return refusal([&] { loop_.run(image().change_backing_file(name, format)); }).data().code;
  };
  EXPECT_EQ(refused(std::string(1024, 'n'), "raw"), "qcow2-new-backing-name-too-long");
  EXPECT_EQ(refused("n", std::string(16, 'f')), "qcow2-new-backing-format-too-long");
  EXPECT_EQ(refused(std::string(500, 'n'), "raw"), "qcow2-header-too-large");
  write(0, pattern(0, 4096, 1));
  close_and_check();
}

TEST_F(HeaderStores, ARawDataFileAllowsNoBackingFile) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  open(layout);
  const Error error = refusal([this] { loop_.run(image().change_backing_file("base", "raw")); });
  EXPECT_EQ(error.data().code, "qcow2-backing-of-raw-data");
  loop_.run(image().change_backing_file("", ""));
  close_and_check();
}

TEST_F(HeaderStores, UnknownAutoclearBitsAreClearedWithTheBackingFile) {
  Disks disks = make_disks(layout_of(kMiB, 65536));
  std::vector<uint8_t> autoclear(8);
  store_big_endian(autoclear.data(), kUnknownAutoclear);
  disks.file->put(88, autoclear);
  open(std::move(disks), layout_of(kMiB, 65536));
  loop_.run(image().change_backing_file("base", "raw"));
  EXPECT_EQ(image().header().autoclear_features, 0u);
  close_and_check();
}

TEST_F(HeaderStores, AChangeOfTheBackingFileWithoutMemoryIsNotForgotten) {
  bool is_done = false;
  for (uint64_t number = 1; !is_done; ++number) {
    open(layout_of(kMiB, 65536));
    Task<void> change = image().change_backing_file("base", "raw");
    faults::MemoryFaults::begin_all_from(number);
    try {
      loop_.run(std::move(change));
      is_done = true;
    } catch (const std::bad_alloc&) {
    } catch (const Error&) {
    }
    is_done = is_done && faults::MemoryFaults::failed() == 0;
    faults::MemoryFaults::end();
    const auto found = layout::HeaderCluster::parse(opened_.file_memory->get(0, 65536));
    if (found.backing_file_name == image().backing_filename()) continue;
    EXPECT_THROW(parts().context.health.check_may_write(), Error) << number;
  }
}

}  // namespace
}  // namespace byre::qcow2::test
