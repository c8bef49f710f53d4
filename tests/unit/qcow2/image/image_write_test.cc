// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <tuple>

#include "async/when_all.h"
#include "unit/qcow2/written_image.h"

namespace byre::qcow2::test {
namespace {

struct Case {
  const char* name;
  Layout setup;
  int share = 1;  // one in this many requests is made, for layouts with large clusters
};

Layout make(uint64_t size, uint64_t cluster_size, int version = 3, uint64_t refcount_bits = 16) {
  Layout setup;
  setup.create.size = size;
  setup.create.cluster_size = cluster_size;
  setup.create.version = version;
  setup.create.refcount_bits = refcount_bits;
  return setup;
}

Layout with_backing(Layout setup, uint64_t backing_size) {
  setup.create.backing_filename = "backing";
  setup.create.backing_format = "raw";
  setup.backing_size = backing_size;
  return setup;
}

Layout extended(Layout setup) {
  setup.create.extended_l2 = true;
  return setup;
}

Layout with_data_file(Layout setup, bool raw) {
  setup.create.data_filename = "data";
  setup.create.data_file_raw = raw;
  setup.compresses = false;
  return setup;
}

Layout lazy(Layout setup) {
  setup.create.lazy_refcounts = true;
  return setup;
}

Layout preallocated(Layout setup, Preallocation preallocation) {
  setup.create.preallocation = preallocation;
  return setup;
}

std::vector<Case> cases() {
  return {
      {"Clusters512", make(300 * 1024 + 512, 512)},
      {"Clusters512Refcounts1", make(300 * 1024, 512, 3, 1)},
      {"Clusters512Refcounts64", make(300 * 1024, 512, 3, 64)},
      {"Clusters4096Version2", make(kMiB, 4096, 2)},
      {"Clusters4096Version2Backing", with_backing(make(kMiB, 4096, 2), 700 * 1000)},
      {"Clusters64KiB", make(3 * kMiB + 512, 65536)},
      {"Clusters64KiBRefcounts2", make(3 * kMiB, 65536, 3, 2)},
      {"Clusters64KiBRefcounts8", make(3 * kMiB, 65536, 3, 8)},
      {"Clusters64KiBRefcounts32", make(3 * kMiB, 65536, 3, 32)},
      {"Clusters64KiBBacking", with_backing(make(3 * kMiB, 65536), 2 * kMiB + 100)},
      {"Clusters64KiBBackingLonger", with_backing(make(3 * kMiB, 65536), 4 * kMiB)},
      {"Clusters2MiB", make(5 * kMiB, 2 * kMiB), 4},
      {"Zstd",
       [] {
         Layout setup = make(2 * kMiB, 32768);
         setup.create.compression_type = CompressionType::kZstd;
         return setup;
       }()},
      {"Lazy", lazy(make(2 * kMiB, 16384))},
      {"ExtendedL2", extended(make(2 * kMiB + 512, 16384))},
      {"ExtendedL2Backing", with_backing(extended(make(2 * kMiB, 65536)), kMiB + 700)},
      {"ExtendedL2Metadata", preallocated(with_backing(extended(make(kMiB, 16384)), 600 * 1000),
                                          Preallocation::kMetadata)},
      {"Metadata", preallocated(make(kMiB, 4096), Preallocation::kMetadata)},
      {"Falloc", preallocated(make(kMiB, 512), Preallocation::kFalloc)},
      {"DataFile", with_data_file(make(2 * kMiB, 16384), false)},
      {"DataFileBacking", with_backing(with_data_file(make(kMiB, 4096), false), 500 * 1000)},
      {"DataFileRaw", with_data_file(make(2 * kMiB, 16384), true)},
      {"DataFileRawExtended", with_data_file(extended(make(2 * kMiB, 16384)), true)},
      {"DataFileExtendedBacking",
       with_backing(with_data_file(extended(make(kMiB, 16384)), false), 500 * 1000)},
  };
}

// The limits of requests, in a range of the disk.
struct Range {
  uint64_t offset;
  uint64_t length;
};

Range random_range(std::mt19937_64& random, uint64_t begin, uint64_t end, uint64_t cluster_size) {
  const auto pick = [&](uint64_t below) { return random() % std::max<uint64_t>(below, 1); };
  uint64_t offset = begin + pick(end - begin);
  const uint64_t kinds[] = {1, 512, 4096, cluster_size / 32 + 1, cluster_size};
  const uint64_t unit = kinds[pick(5)];
  offset = std::max(begin, offset / unit * unit);
  uint64_t length = 1 + pick(4 * cluster_size);
  if (pick(3) == 0) length = (1 + pick(4)) * unit;
  return {offset, std::clamp<uint64_t>(length, 1, end - offset)};
}

// Takes the result of a discard, old bytes or zeroes, over into the model.
Task<void> take_over_discarded(Image* image, Model* model, uint64_t offset, uint64_t length) {
  std::vector<uint8_t> now(length);
  const ReadBuffers to((Bytes(now)));
  co_await image->read(offset, to);
  // A byte that is neither old nor zero is found by the comparison at the end.
  uint8_t* const expected = model->bytes().data() + offset;
  for (uint64_t i = 0; i < length; ++i) expected[i] = now[i] == 0 ? 0 : expected[i];
}

// Random requests to [begin, end) of the disk, one at a time.
Task<void> random_requests(Image* image, Model* model, const Layout* setup, uint64_t seed,
                           uint64_t begin, uint64_t end, int count) {
  std::mt19937_64 random(seed);
  const uint64_t cluster_size = setup->create.cluster_size;
  for (int i = 0; i < count; ++i) {
    const Range range = random_range(random, begin, end, cluster_size);
    const uint64_t op = random() % 100;
    if (op < 55) {
      const std::vector<uint8_t> bytes = pattern(range.offset, range.length, random());
      const WriteBuffers from((ConstBytes(bytes)));
      co_await image->write(range.offset, from);
      model->put(range.offset, bytes);
    } else if (op < 70 && setup->compresses) {
      const uint64_t offset =
          align_up(begin, cluster_size) + align_down(range.offset - begin, cluster_size);
      if (offset + cluster_size > end) continue;
      const std::vector<uint8_t> bytes = compressible(offset, cluster_size, random());
      const WriteBuffers from((ConstBytes(bytes)));
      co_await image->write(offset, from, WriteFlags::kCompressed);
      model->put(offset, bytes);
    } else if (op < 85) {
      const WriteFlags flags = random() % 2 == 0 ? WriteFlags::kNone : WriteFlags::kMayUnmap;
      co_await image->write_zeroes(range.offset, range.length, flags);
      model->zero(range.offset, range.length);
    } else if (op < 94) {
      co_await image->discard(range.offset, range.length);
      co_await take_over_discarded(image, model, range.offset, range.length);
    } else {
      co_await image->flush();
    }
  }
}

class ImageWrite : public testing::TestWithParam<Case> {
 protected:
  const Layout& setup() const { return GetParam().setup; }
  int share_of(int requests) const { return requests / GetParam().share; }

  // Reads back, closes, reads the closed files, and checks them.
  void expect_holds(OpenImage& opened, Model& model, Loop& loop) {
    const auto now = loop.run(read_all(opened.image.get()));
    EXPECT_EQ(first_difference(now, model.bytes()), std::nullopt);
    loop.run(opened.image->close());
    const Disks disks = opened.snapshot();
    expect_sound(disks, false);
    const auto later = sync_wait(read_disks(clone(disks), setup().backing_size));
    EXPECT_EQ(first_difference(later, model.bytes()), std::nullopt);
    if (!setup().create.data_file_raw) return;
    const std::vector<uint8_t> raw = disks.data->get(0, model.size());
    EXPECT_EQ(first_difference(raw, model.bytes()), std::nullopt) << "raw data file";
  }
};

TEST_P(ImageWrite, HoldsWhatRandomRequestsWroteInTurn) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    Loop loop;
    Model model(setup());
    OpenImage opened =
        loop.run(open_disks(make_disks(setup()), setup().backing_size, for_writing()));
    loop.run(random_requests(opened.image.get(), &model, &setup(), seed, 0, model.size(),
                             share_of(150)));
    expect_holds(opened, model, loop);
  }
}

// Several writers, each with a part of the disk whose ends are inside clusters shared with its
// neighbours.
Task<void> concurrent_requests(Image* image, Model* model, const Layout* setup, uint64_t seed) {
  constexpr uint64_t kWriters = 6;
  std::vector<Task<void>> writers;
  const uint64_t part = align_down(model->size() / kWriters, 512) + 512;
  for (uint64_t i = 0; i < kWriters; ++i) {
    const uint64_t begin = i * part;
    const uint64_t end = std::min(begin + part, model->size());
    if (begin >= end) continue;
    writers.push_back(random_requests(image, model, setup, seed * 100 + i, begin, end, 40));
  }
  co_await when_all(std::move(writers));
}

TEST_P(ImageWrite, HoldsWhatConcurrentRequestsWroteInAnyOrder) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE(seed);
    Loop loop(Loop::Options{.seed = seed});
    Model model(setup());
    OpenImage opened =
        loop.run(open_disks(make_disks(setup()), setup().backing_size, for_writing()));
    opened.file->set_delays(seed, 3);
    if (opened.data != nullptr) opened.data->set_delays(seed, 3);
    loop.run(concurrent_requests(opened.image.get(), &model, &setup(), seed));
    expect_holds(opened, model, loop);
  }
}

TEST_P(ImageWrite, KeepsItsContentsWhenItIsReopenedAndWritten) {
  Model model(setup());
  Disks disks = make_disks(setup());
  for (uint64_t seed = 11; seed <= 14; ++seed) {
    SCOPED_TRACE(seed);
    Loop loop;
    OpenImage opened = loop.run(open_disks(std::move(disks), setup().backing_size, for_writing()));
    loop.run(
        random_requests(opened.image.get(), &model, &setup(), seed, 0, model.size(), share_of(60)));
    expect_holds(opened, model, loop);
    disks = opened.snapshot();
  }
}

INSTANTIATE_TEST_SUITE_P(Features, ImageWrite, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace byre::qcow2::test
