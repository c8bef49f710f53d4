// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <optional>
#include <tuple>

#include "filter/filter_device.h"
#include "qcow2/create/creation_plan.h"
#include "unit/qcow2/written_image.h"

namespace byre::qcow2::test {
namespace {

CreateOptions options_of(uint64_t size, uint64_t cluster_size = 65536) {
  CreateOptions options;
  options.size = size;
  options.cluster_size = cluster_size;
  return options;
}

Disks created(CreateOptions options) {
  Layout layout;
  layout.create = std::move(options);
  return make_disks(layout);
}

TEST(CreationPlan, PutsRefcountBlocksAfterTheAllocationThatNeedsThem) {
  CreateOptions options = options_of(200 * kKiB, 512);
  options.preallocation = Preallocation::kMetadata;
  const CreationPlan plan = CreationPlan::make(options, options.size);
  // As QEMU: H RT RB0 L1 L2.0 D*64 L2.1 D*64 L2.2 D*64 L2.3 D*64 RB1 L2.4 ...
  EXPECT_EQ(plan.l1_table, 3u);
  EXPECT_EQ(plan.refcount_blocks, (std::vector<uint64_t>{2, 264}));
  EXPECT_EQ(plan.l2_tables, (std::vector<uint64_t>{4, 69, 134, 199, 265, 330, 395}));
  EXPECT_EQ(plan.clusters, 412u);
}

TEST(CreationPlan, KeepsReservedDataInOnePiece) {
  CreateOptions options = options_of(200 * kKiB, 512);
  options.preallocation = Preallocation::kFalloc;
  const CreationPlan plan = CreationPlan::make(options, options.size);
  // As QEMU: H L2.0 RB0 L1 RB1 RT D*400 L2.1 ... L2.6
  EXPECT_EQ(plan.refcount_blocks, (std::vector<uint64_t>{2, 4}));
  EXPECT_EQ(plan.refcount_table, 5u);
  ASSERT_EQ(plan.data.size(), 1u);
  EXPECT_EQ(plan.data[0].host_cluster, 6u);
  EXPECT_EQ(plan.data[0].count, 400u);
  EXPECT_EQ(plan.l2_tables.front(), 1u);
  EXPECT_EQ(plan.clusters, 412u);
}

TEST(CreationPlan, RefusesARefcountTableBeyondItsLimit) {
  CreateOptions options = options_of(64 * kGiB, 512);
  options.refcount_bits = 64;
  options.preallocation = Preallocation::kMetadata;
  EXPECT_THROW(CreationPlan::make(options, options.size), Error);
}

class Create : public testing::TestWithParam<std::tuple<uint64_t, Preallocation, bool, uint64_t>> {
};

TEST_P(Create, GivesASoundImageOfZeroes) {
  const auto [cluster_size, preallocation, extended_l2, refcount_bits] = GetParam();
  for (const uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{512}, kMiB + 513}) {
    for (const char* data_filename : {"", "data"}) {
      SCOPED_TRACE(testing::Message() << size << " " << data_filename);
      CreateOptions options = options_of(size, cluster_size);
      options.preallocation = preallocation;
      options.extended_l2 = extended_l2 && cluster_size >= 16384;
      options.refcount_bits = refcount_bits;
      if (*data_filename != 0) options.data_filename = data_filename;
      const Disks disks = created(options);
      expect_sound(disks, false);
      const std::vector<uint8_t> bytes = sync_wait(read_disks(clone(disks), {}));
      EXPECT_EQ(bytes, std::vector<uint8_t>(align_up(size, 512)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Options, Create,
                         testing::Combine(testing::Values(512, 4096, 65536, 2 * kMiB),
                                          testing::Values(Preallocation::kOff,
                                                          Preallocation::kMetadata,
                                                          Preallocation::kFalloc),
                                          testing::Bool(), testing::Values(1, 16, 64)));

TEST(Create, WritesTheHeaderThatQemuWrites) {
  CreateOptions options = options_of(kMiB);
  options.backing_filename = "b.raw";
  options.backing_format = "raw";
  const Disks disks = created(options);
  // Length of QEMU's file: header, refcount table, refcount block, and the L1 table's one entry.
  EXPECT_EQ(disks.file->size(), 3u * 65536 + 8);
  const std::vector<uint8_t> name = disks.file->get(0x210, 5);
  EXPECT_EQ(std::string(name.begin(), name.end()), "b.raw");
  EXPECT_EQ(disks.file->get(0x70, 11),
            (std::vector<uint8_t>{0xe2, 0x79, 0x2a, 0xca, 0, 0, 0, 3, 'r', 'a', 'w'}));
  EXPECT_EQ(disks.file->get(0x80, 4), (std::vector<uint8_t>{0x68, 0x03, 0xf8, 0x57}));
}

TEST(Create, LeavesTheFeatureNamesOutOfSmallClusters) {
  EXPECT_EQ(created(options_of(kMiB, 4096)).file->get(112, 4), std::vector<uint8_t>(4));
  EXPECT_NE(created(options_of(kMiB, 8192)).file->get(112, 4), std::vector<uint8_t>(4));
}

TEST(Create, RefusesNamesThatTheHeaderClusterCannotHold) {
  // The error for a name of this length.
  const auto refusal = [](size_t length, uint64_t cluster_size) -> std::optional<Error> {
    CreateOptions options = options_of(kMiB, cluster_size);
    options.backing_filename = std::string(length, 'a');
    options.backing_format = "raw";
    try {
      created(options);
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  };
  EXPECT_FALSE(refusal(376, 512));
  EXPECT_FALSE(refusal(1023, 65536));
  for (const auto& [length, cluster_size, errno_value] :
       {std::tuple{400u, 512u, ENOSPC}, std::tuple{1024u, 65536u, EINVAL}}) {
    const std::optional<Error> refused = refusal(length, cluster_size);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->data().code, "qcow2-backing-file-refused");
    EXPECT_EQ(refused->data().name, std::string(length, 'a'));
    EXPECT_EQ(refused->data().text, "raw");
    EXPECT_EQ(refused->errno_value(), errno_value);
  }
}

TEST(Create, ADataFileIsGivenExactlyIfTheOptionsNameOne) {
  storage::MemoryDevice file;
  storage::MemoryDevice data;
  EXPECT_THROW(sync_wait(create(file, &data, options_of(kMiB))), Error);
  CreateOptions options = options_of(kMiB);
  options.data_filename = "data";
  EXPECT_THROW(sync_wait(create(file, nullptr, options)), Error);
}

TEST(Create, LeavesNothingThatOpensIfItFails) {
  for (const Preallocation preallocation :
       {Preallocation::kOff, Preallocation::kMetadata, Preallocation::kFull}) {
    for (const faults::Operation operation :
         {faults::Operation::kWrite, faults::Operation::kResize, faults::Operation::kFlush}) {
      for (uint64_t n = 1;; ++n) {
        faults::FaultDevice file(std::make_unique<storage::MemoryDevice>());
        faults::FaultRule rule;
        rule.operation = operation;
        rule.first = n;
        rule.errno_value = ENOSPC;
        file.add_rule(rule);
        CreateOptions options = options_of(kMiB, 4096);
        options.preallocation = preallocation;
        bool failed = false;
        try {
          sync_wait(create(file, nullptr, options));
        } catch (const Error& error) {
          EXPECT_EQ(error.errno_value(), ENOSPC);
          failed = true;
        }
        if (!failed) break;
        auto left = static_cast<storage::MemoryDevice&>(file.below()).clone();
        EXPECT_THROW(sync_wait(Image::open(std::move(left), {})), Error) << n;
      }
    }
  }
}

TEST(Create, ClearsFormerContentsOfTheFile) {
  storage::MemoryDevice file;
  const std::vector<uint8_t> junk = pattern(0, kMiB, 1);
  file.put(0, junk);
  sync_wait(create(file, nullptr, options_of(10 * kGiB, 4096)));
  Disks disks;
  disks.file = file.clone();
  expect_sound(disks, false);
}

TEST(Create, PreallocatedClustersReadAsZeroesOnADiskFullOfOldBytes) {
  for (const bool extended : {false, true}) {
    storage::MemoryDevice file;
    const std::vector<uint8_t> old = pattern(0, 4 * kMiB, 1);
    file.put(0, old);
    CreateOptions options = options_of(2 * kMiB, 64 * kKiB);
    options.preallocation = Preallocation::kMetadata;
    options.extended_l2 = extended;
    sync_wait(create(file, nullptr, options));
    Disks disks;
    disks.file = file.clone();
    expect_sound(disks, false);
    const auto image = sync_wait(Image::open(file.clone(), {}));
    std::vector<uint8_t> bytes(2 * kMiB, 1);
    sync_wait(image->read(0, ReadBuffers(Bytes(bytes))));
    EXPECT_EQ(bytes, std::vector<uint8_t>(2 * kMiB));
  }
}

// A disk that cannot grow and does not report holes.
class FixedDisk : public filter::FilterDevice {
 public:
  explicit FixedDisk(uint64_t size) : FilterDevice(std::make_unique<storage::MemoryDevice>()) {
    const std::vector<uint8_t> old = pattern(0, size, 1);
    memory().put(0, old);
    limits_ = below().limits();
    limits_.grows = false;
    limits_.is_zero_initialised = false;
  }
  const char* driver() const override { return "fixed"; }
  const Limits& limits() const override { return limits_; }
  storage::MemoryDevice& memory() { return static_cast<storage::MemoryDevice&>(below()); }

 private:
  Limits limits_;
};

TEST(Create, ADiskThatIsTooSmallForPreallocationStaysAsItIs) {
  struct Refusal {
    Preallocation preallocation;
    uint64_t size;
    const char* code;
  };
  const Refusal refusals[] = {
      {Preallocation::kMetadata, 4 * kMiB, "device-too-small"},
      {Preallocation::kMetadata, 64 * kMiB, "device-too-small"},
      {Preallocation::kFalloc, kMiB, "device-preallocation"},
      {Preallocation::kFull, kMiB, "device-preallocation"},
  };
  for (const Refusal& refusal : refusals) {
    FixedDisk disk(4 * kMiB);
    CreateOptions options = options_of(refusal.size, 64 * kKiB);
    options.preallocation = refusal.preallocation;
    try {
      sync_wait(create(disk, nullptr, options));
      ADD_FAILURE() << "made";
    } catch (const Error& error) {
      EXPECT_EQ(error.data().code, refusal.code);
    }
    std::vector<uint8_t> left(4 * kMiB);
    sync_wait(disk.read(0, ReadBuffers(Bytes(left))));
    EXPECT_EQ(left, pattern(0, 4 * kMiB, 1));
  }
}

TEST(Create, ADiskThatIsTooSmallForTheTablesStaysAsItIs) {
  const std::pair<uint64_t, const char*> refusals[] = {
      {512, "qcow2-no-room-for-header"},
      {64 * kKiB, "qcow2-no-room-for-refcounts"},
      {192 * kKiB - 512, "qcow2-no-room-for-refcounts"},
      {192 * kKiB, "qcow2-no-room-for-l1-table"},
      {192 * kKiB + 512, ""},
  };
  for (const auto& [size, code] : refusals) {
    FixedDisk disk(size);
    std::string told;
    try {
      sync_wait(create(disk, nullptr, options_of(kMiB, 64 * kKiB)));
    } catch (const Error& error) {
      told = error.data().code.view();
    }
    EXPECT_EQ(told, code);
    if (told.empty()) continue;
    std::vector<uint8_t> left(size);
    sync_wait(disk.read(0, ReadBuffers(Bytes(left))));
    EXPECT_EQ(left, pattern(0, size, 1));
  }
}

TEST(Create, CreatesHugeDisksQuickly) {
  const Disks disks = created(options_of(2048 * kTiB));
  expect_sound(disks, false);
  EXPECT_LT(*disks.file->allocated_size(), kMiB);
}

}  // namespace
}  // namespace byre::qcow2::test
