// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "unit/qcow2/written_image.h"

// Compressed clusters are packed into host clusters without gaps, so the allocator remembers where
// it packed last. That host cluster may meanwhile be freed and allocated for something else. QEMU
// 10.0.2 then continues to pack at the old byte, inside the reallocated cluster: guest data is
// lost, and a cluster with COPIED set has refcount 2. Here each way to free and to reuse such a
// cluster is tried, and after each compressed write the whole disk is compared.
namespace byre::qcow2::test {
namespace {

struct Shape {
  const char* name;
  uint64_t cluster_size = 4096;
  bool extended_l2 = false;
  CompressionType compression = CompressionType::kZlib;
  uint64_t refcount_bits = 16;
  // Compressed clusters of more than half a cluster, so that most extend into the next one.
  bool is_bulky = false;
};

constexpr Shape kShapes[] = {
    {.name = "Small"},
    {.name = "Bulky", .is_bulky = true},
    {.name = "Clusters512Bulky", .cluster_size = 512, .is_bulky = true},
    {.name = "Clusters64KiBBulky", .cluster_size = 65536, .is_bulky = true},
    {.name = "ExtendedL2", .cluster_size = 16384, .extended_l2 = true},
    {.name = "Zstd", .compression = CompressionType::kZstd},
    {.name = "Refcounts1", .refcount_bits = 1},
    {.name = "Refcounts2Bulky", .refcount_bits = 2, .is_bulky = true},
};

// How compressed clusters are replaced or freed.
enum class Removal { kWrite, kPartWrite, kZeroes, kUnmap, kDiscard, kCompressed };
constexpr Removal kRemovals[] = {Removal::kWrite, Removal::kPartWrite, Removal::kZeroes,
                                 Removal::kUnmap, Removal::kDiscard,   Removal::kCompressed};

constexpr uint64_t kClusters = 24;

class CompressedPacking : public testing::TestWithParam<Shape> {
 protected:
  void SetUp() override { open(); }

  void open() {
    Layout layout;
    layout.create.size = kClusters * GetParam().cluster_size;
    layout.create.cluster_size = GetParam().cluster_size;
    layout.create.extended_l2 = GetParam().extended_l2;
    layout.create.compression_type = GetParam().compression;
    layout.create.refcount_bits = GetParam().refcount_bits;
    model_.emplace(layout);
    opened_ = loop_.run(open_disks(make_disks(layout), {}, for_writing()));
  }
  Image& image() { return *opened_.image; }
  uint64_t cluster_size() const { return GetParam().cluster_size; }

  void write_bytes(uint64_t offset, const std::vector<uint8_t>& bytes, WriteFlags flags) {
    loop_.run(image().write(offset, ConstBytes(bytes), flags));
    model_->put(offset, bytes);
  }
  void write(uint64_t cluster, uint64_t count) {
    const uint64_t offset = cluster * cluster_size();
    write_bytes(offset, pattern(offset, count * cluster_size(), ++seed_), WriteFlags::kNone);
  }
  void write_compressed(uint64_t cluster, uint64_t count) {
    const uint64_t offset = cluster * cluster_size();
    std::vector<uint8_t> bytes = compressible(offset, count * cluster_size(), ++seed_);
    for (uint64_t i = 0; GetParam().is_bulky && i < bytes.size(); ++i) {
      if (i % cluster_size() < cluster_size() / 10 * 6) {
        bytes[i] = byre::test::pattern_byte(offset + i, seed_);
      }
    }
    write_bytes(offset, bytes, WriteFlags::kCompressed);
  }
  void zero(uint64_t cluster, uint64_t count, WriteFlags flags) {
    loop_.run(image().write_zeroes(cluster * cluster_size(), count * cluster_size(), flags));
    model_->zero(cluster * cluster_size(), count * cluster_size());
  }
  // In a version 3 image without a backing file, discarded clusters read as zeroes.
  void discard(uint64_t cluster, uint64_t count) {
    loop_.run(image().discard(cluster * cluster_size(), count * cluster_size()));
    model_->zero(cluster * cluster_size(), count * cluster_size());
  }
  void flush() { loop_.run(image().flush()); }
  void remove(Removal how, uint64_t cluster, uint64_t count) {
    switch (how) {
      case Removal::kWrite:
        return write(cluster, count);
      case Removal::kPartWrite:
        for (uint64_t i = cluster; i < cluster + count; ++i) {
          const uint64_t offset = i * cluster_size() + cluster_size() / 4;
          write_bytes(offset, pattern(offset, cluster_size() / 2, ++seed_), WriteFlags::kNone);
        }
        return;
      case Removal::kZeroes:
        return zero(cluster, count, WriteFlags::kNone);
      case Removal::kUnmap:
        return zero(cluster, count, WriteFlags::kMayUnmap);
      case Removal::kDiscard:
        return discard(cluster, count);
      case Removal::kCompressed:
        return write_compressed(cluster, count);
    }
  }
  void expect_disk(const std::string& when) {
    const std::vector<uint8_t> found = loop_.run(read_all(&image()));
    ASSERT_EQ(first_difference(found, model_->bytes()), std::nullopt) << when;
  }
  void close_and_check() {
    loop_.run(image().close());
    expect_sound(opened_.snapshot(), false);
    const std::vector<uint8_t> later = sync_wait(read_disks(opened_.snapshot(), {}));
    EXPECT_EQ(first_difference(later, model_->bytes()), std::nullopt) << "after opening again";
  }

  Loop loop_;
  OpenImage opened_;
  std::optional<Model> model_;
  uint64_t seed_ = 0;
};

// Writes `packed` compressed clusters, of which `removed` from `first_removed` on are freed; then
// others, which reuse the freed clusters; then more compressed ones.
struct Sequence {
  uint64_t packed;
  uint64_t first_removed;
  uint64_t removed;
};

TEST_P(CompressedPacking, NeverContinuesInAReallocatedCluster) {
  for (const Sequence& each : {Sequence{1, 0, 1}, Sequence{3, 0, 3}, Sequence{3, 0, 1},
                               Sequence{3, 2, 1}, Sequence{5, 1, 4}}) {
    for (const Removal how : kRemovals) {
      for (const bool flushes : {true, false}) {
        SCOPED_TRACE(testing::Message()
                     << each.packed << " packed, " << each.removed << " from " << each.first_removed
                     << " on removed, way " << static_cast<int>(how) << ", flush " << flushes);
        open();
        write_compressed(0, each.packed);
        remove(how, each.first_removed, each.removed);
        if (flushes) flush();
        for (uint64_t i = 0; i < 4; ++i) {
          write(8 + i, 1);
          write_compressed(12 + 2 * i, i % 2 + 1);
          expect_disk("after writing beside the packed ones");
        }
        remove(how, 12, 8);
        if (flushes) flush();
        write(6, 2);
        write_compressed(20, 4);
        expect_disk("at the end");
        close_and_check();
        if (HasFatalFailure()) return;
      }
    }
  }
}

// The next compressed write is packed into the cluster before its neighbours are freed, and in the
// same flush.
TEST_P(CompressedPacking, AClusterThatIsPackedIntoWhileItsFormerBytesAreFreedIsKept) {
  write_compressed(0, 1);
  write(0, 1);             // its host cluster waits to be freed
  write_compressed(1, 1);  // and is packed into again
  flush();
  write(2, 4);
  expect_disk("after the flush");
  write_compressed(8, 1);
  discard(1, 1);
  flush();
  write(9, 2);
  write_compressed(12, 2);
  expect_disk("after the second flush");
  close_and_check();
}

TEST_P(CompressedPacking, RandomRequestsLeaveEveryByteAtItsOffset) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    open();
    std::mt19937_64 random(seed);
    for (int i = 0; i < 60; ++i) {
      const uint64_t cluster = random() % kClusters;
      const uint64_t count = std::min(1 + random() % 4, kClusters - cluster);
      const uint64_t kind = random() % 12;
      if (kind < 5) {
        write_compressed(cluster, count);
      } else if (kind < 11) {
        remove(kRemovals[kind - 5], cluster, count);
      } else {
        flush();
      }
      if (i % 6 == 0) expect_disk("request " + std::to_string(i));
      if (HasFatalFailure()) return;
    }
    close_and_check();
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CompressedPacking, testing::ValuesIn(kShapes),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace byre::qcow2::test
