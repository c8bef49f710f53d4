// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

// Which entries zeroing makes, and what happens to entries that break the format's rules. QEMU's
// behaviour was determined with qemu-io and qemu-img map.
namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 65536;

class ZeroingTest : public WritingTest {
 protected:
  // 'z': zero cluster; 'd': data; '-': nothing; one letter for `unit` bytes.
  std::string map(uint64_t unit = kCluster) {
    std::string text;
    for (uint64_t at = 0; at < image().size(); at += unit) {
      const std::vector<Extent> found = loop_.run(image().extents(at, unit, ExtentScope::kLayer));
      const Extent& first = found.front();
      text += !first.present ? '-' : first.data ? 'd' : 'z';
    }
    return text;
  }
  void set_l2_entry(Disks* disks, uint64_t index, uint64_t set_bits) {
    const uint64_t at = l2_entry_offset(*disks, index);
    store(disks, at, load(*disks, at) | set_bits);
  }
  void clear_l2_entry(Disks* disks, uint64_t index) {
    store(disks, l2_entry_offset(*disks, index), 0);
  }

 private:
  static uint64_t load(const Disks& disks, uint64_t at) {
    return load_big_endian<uint64_t>(disks.file->get(at, 8).data());
  }
  static void store(Disks* disks, uint64_t at, uint64_t value) {
    uint8_t bytes[8];
    store_big_endian<uint64_t>(bytes, value);
    disks->file->put(at, ConstBytes(bytes));
  }
  static uint64_t l2_entry_offset(const Disks& disks, uint64_t index) {
    return (load(disks, load(disks, 40)) & layout::L1Entry::kOffsetMask) + 8 * index;
  }
};

Layout over_backing(int version, uint64_t backing_size) {
  Layout layout = layout_of(16 * kCluster, kCluster);
  layout.create.version = version;
  layout.create.backing_filename = "backing";
  layout.create.backing_format = "raw";
  layout.backing_size = backing_size;
  return layout;
}

TEST_F(ZeroingTest, ZeroesInRangesWithoutATableAreRecorded) {
  open(layout_of(16 * kCluster, kCluster));
  zero(0, kCluster);
  zero(2 * kCluster, 100);
  zero(4 * kCluster, 2 * kCluster, WriteFlags::kMayUnmap);
  zero(7 * kCluster + 512, 512, WriteFlags::kNoFallback);
  discard(9 * kCluster, kCluster);
  EXPECT_EQ(map(), "z-z-zz-z--------");
  close_and_check();
}

TEST_F(ZeroingTest, ZeroesPastTheEndOfAShorterBackingFile) {
  open(over_backing(3, 4 * kCluster));
  zero(3 * kCluster, 2 * kCluster);
  zero(8 * kCluster, kCluster);
  zero(10 * kCluster + 512, 512);
  EXPECT_EQ(map(), "---zz---z-z-----");
  close_and_check();
  // A backing file that has grown does not show through.
  Disks disks = opened_.snapshot();
  open(std::move(disks), over_backing(3, 16 * kCluster));
  EXPECT_EQ(read(8 * kCluster, kCluster), std::vector<uint8_t>(kCluster));
  EXPECT_EQ(read(10 * kCluster, kCluster), std::vector<uint8_t>(kCluster));
  EXPECT_NE(read(9 * kCluster, kCluster), std::vector<uint8_t>(kCluster));
  close_and_check();
}

TEST_F(ZeroingTest, SubclustersByThemselves) {
  Layout layout = layout_of(4 * kCluster, kCluster);
  layout.create.extended_l2 = true;
  open(layout);
  zero(0, 4096);
  zero(8192, 100);
  zero(kCluster - 2048, 4096, WriteFlags::kMayUnmap);
  EXPECT_EQ(map(2048).substr(0, 8), "zz--z---");
  EXPECT_EQ(map(2048).substr(30, 4), "-zz-");
  close_and_check();
}

TEST_F(ZeroingTest, VersionTwoWritesBytesOverABackingFileAndNothingWithout) {
  Layout alone = layout_of(16 * kCluster, kCluster);
  alone.create.version = 2;
  open(alone);
  zero(0, kCluster);
  zero(2 * kCluster, 100);
  EXPECT_EQ(map(), std::string(16, '-'));
  close_and_check();
  open(over_backing(2, 4 * kCluster));
  zero(3 * kCluster, 2 * kCluster);
  zero(8 * kCluster + 512, 512);
  EXPECT_EQ(map(), "---dd---d-------");
  close_and_check();
}

// Where the tables have zeroes and a raw data file does not, zeroing part of a cluster leaves no old
// bytes in it: with an old L2 table, after a power cut, they would read beside the new zeroes.
TEST_F(ZeroingTest, PartOfAnUnmappedClusterOfARawDataFileZeroesAllOfIt) {
  Layout layout = layout_of(16 * kCluster, kCluster);
  layout.create.data_filename = "data";
  layout.create.data_file_raw = true;
  Disks disks = make_disks(layout);
  disks.data->put(0, std::vector<uint8_t>(16 * kCluster, 0x55));
  for (const uint64_t index : {3, 4, 8}) clear_l2_entry(&disks, index);
  open(std::move(disks), layout);
  zero(3 * kCluster + 512, kCluster);
  zero(8 * kCluster + 512, 512, WriteFlags::kMayUnmap);
  const std::vector<uint8_t> none(2 * kCluster);
  EXPECT_EQ(opened_.data_memory->get(3 * kCluster, 2 * kCluster), none);
  EXPECT_EQ(opened_.data_memory->get(8 * kCluster, kCluster), std::vector<uint8_t>(kCluster));
  EXPECT_EQ(opened_.data_memory->get(2 * kCluster, kCluster), std::vector<uint8_t>(kCluster, 0x55));
  EXPECT_EQ(opened_.data_memory->get(9 * kCluster, kCluster), std::vector<uint8_t>(kCluster, 0x55));
  // Nothing is lost around zeroes in data.
  write(12 * kCluster, std::vector<uint8_t>(kCluster, 0x66));
  zero(12 * kCluster + 512, 512);
  EXPECT_EQ(read(12 * kCluster, 512), std::vector<uint8_t>(512, 0x66));
  EXPECT_EQ(read(12 * kCluster + 512, 512), std::vector<uint8_t>(512));
  EXPECT_EQ(read(12 * kCluster + 1024, kCluster - 1024),
            std::vector<uint8_t>(kCluster - 1024, 0x66));
  close_and_check();
}

TEST_F(ZeroingTest, ALargeEmptyDiskTakesNoMoreThanItsTables) {
  open(layout_of(uint64_t{1} << 36, kCluster));
  zero(0, uint64_t{1} << 36, WriteFlags::kMayUnmap);
  flush();
  EXPECT_LT(opened_.file->size(), 9 * kMiB);
  const std::vector<Extent> all = extents();
  EXPECT_TRUE(all.front().present && all.front().zero);
  close_and_check();
}

TEST_F(ZeroingTest, PartsOfClustersOverABackingFileThatIsZeroThere) {
  for (const bool extended : {false, true}) {
    Layout layout = over_backing(3, 4 * kCluster);
    layout.backing_size.reset();
    layout.create.extended_l2 = extended;
    open(layout);
    auto backing = std::make_unique<storage::MemoryDevice>(16 * kCluster);
    backing->put(5 * kCluster, pattern(0, 512, 1));
    image().set_backing(std::move(backing));
    zero(100, 512);
    zero(3 * kCluster - 512, 1024, WriteFlags::kMayUnmap | WriteFlags::kNoFallback);
    EXPECT_EQ(refusal([&] { zero(5 * kCluster + 1024, 512, WriteFlags::kNoFallback); }).kind(),
              ErrorKind::kUnsupported);
    zero(5 * kCluster + 1024, 512);
    const uint64_t unit = image().geometry().subcluster_size();
    EXPECT_EQ(map(unit).find('d'), 5 * kCluster / unit);
    EXPECT_EQ(map(unit)[0], 'z');
    EXPECT_EQ(map(unit)[3 * kCluster / unit - 1], 'z');
    EXPECT_EQ(map(unit)[3 * kCluster / unit], 'z');
    EXPECT_EQ(read(5 * kCluster, 512), pattern(0, 512, 1));
    close_and_check();
  }
}

TEST_F(ZeroingTest, AnEntryWithAnImpossibleOffsetIsReplacedAndReported) {
  for (const int version : {2, 3}) {
    Layout layout = layout_of(8 * kCluster, kCluster);
    layout.create.version = version;
    open(layout);
    write(0, pattern(0, 4 * kCluster, 1));
    close_and_check();
    const Disks sound = opened_.snapshot();
    for (const char* const how : {"discard", "zeroes", "unmapping zeroes"}) {
      Disks disks = clone(sound);
      set_l2_entry(&disks, 1, 0x200);
      std::vector<Warning> warnings;
      OpenOptions options = for_writing();
      options.on_warning = [&warnings](const Warning& warning) { warnings.push_back(warning); };
      open(std::move(disks), layout, options);
      if (how == std::string("discard")) {
        discard(0, 3 * kCluster);
      } else {
        const bool unmaps = how != std::string("zeroes");
        zero(0, 3 * kCluster, unmaps ? WriteFlags::kMayUnmap : WriteFlags::kNone);
      }
      ASSERT_EQ(warnings.size(), 1u);
      EXPECT_EQ(warnings[0].kind, WarningKind::kCorrupt);
      EXPECT_EQ(warnings[0].problem.data().code, "qcow2-freed-cluster-unaligned");
      EXPECT_EQ(read(0, 3 * kCluster), std::vector<uint8_t>(3 * kCluster));
      write(5 * kCluster, pattern(0, 512, 2));
      EXPECT_EQ(read(3 * kCluster, kCluster), pattern(3 * kCluster, kCluster, 1));
      EXPECT_FALSE(image().header().is_corrupt());
      loop_.run(image().close());
      expect_sound(opened_.snapshot(), true);
    }
  }
}

TEST_F(ZeroingTest, AShrinkingDiskIgnoresSuchAnEntry) {
  const Layout layout = layout_of(8 * kCluster, kCluster);
  open(layout);
  write(0, pattern(0, 4 * kCluster, 1));
  close_and_check();
  for (const uint64_t new_size : {uint64_t{512}, uint64_t{0}}) {
    Disks disks = opened_.snapshot();
    Disks damaged = clone(disks);
    set_l2_entry(&damaged, 1, 0x200);
    Loop loop;
    OpenImage opened = loop.run(open_disks(std::move(damaged), {}, for_writing()));
    loop.run(opened.image->resize(new_size, Preallocation::kOff));
    EXPECT_EQ(opened.image->size(), new_size);
    loop.run(opened.image->close());
    expect_sound(opened.snapshot(), true);
  }
}

TEST_F(ZeroingTest, PartOfAClusterWithSuchAnEntryIsAnError) {
  const Layout layout = layout_of(8 * kCluster, kCluster);
  open(layout);
  write(0, pattern(0, 4 * kCluster, 1));
  close_and_check();
  Disks disks = opened_.snapshot();
  set_l2_entry(&disks, 1, 0x200);
  open(std::move(disks), layout);
  EXPECT_EQ(refusal([&] { zero(kCluster, 4096); }).errno_value(), ENOMEDIUM);
  EXPECT_TRUE(image().header().is_corrupt());
}

TEST_F(ZeroingTest, AnEntryThatTheMapFindsMarksTheImage) {
  const Layout layout = layout_of(8 * kCluster, kCluster);
  open(layout);
  write(0, pattern(0, 4 * kCluster, 1));
  close_and_check();
  Disks disks = opened_.snapshot();
  set_l2_entry(&disks, 1, 0x200);
  open(std::move(disks), layout);
  EXPECT_EQ(extents().front().length, kCluster);
  EXPECT_FALSE(image().header().is_corrupt());
  const auto ask = [&] { loop_.run(image().extents(kCluster, kCluster, ExtentScope::kLayer)); };
  EXPECT_EQ(refusal(ask).errno_value(), EIO);
  EXPECT_TRUE(image().header().is_corrupt());
  EXPECT_EQ(refusal(ask).errno_value(), ENOMEDIUM);
}

}  // namespace
}  // namespace byre::qcow2::test
