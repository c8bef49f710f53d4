// SPDX-License-Identifier: Apache-2.0
#include "qcow2/space/overlap_check.h"

#include <fmt/format.h>

#include "qcow2/image/image_parts.h"
#include "unit/qcow2/image_with_bitmaps.h"

namespace byre::qcow2::test {
namespace {

MetadataKinds kinds_of(const std::string& check_template) {
  OverlapCheckOptions options;
  options.check = check_template;
  return MetadataKinds::of(options);
}

// Code and texts of the error.
std::string refusal_of(const OverlapCheckOptions& options) {
  try {
    MetadataKinds::of(options);
  } catch (const Error& error) {
    const ErrorData& data = error.data();
    return fmt::format("{} '{}' '{}'", data.code.view(), data.text, data.name);
  }
  return "accepted";
}

TEST(MetadataKinds, TemplatesAreQemus) {
  EXPECT_EQ(kinds_of("none"), MetadataKinds());
  for (const MetadataKind kind :
       {MetadataKind::kMainHeader, MetadataKind::kActiveL1, MetadataKind::kRefcountTable,
        MetadataKind::kSnapshotTable, MetadataKind::kBitmapDirectory}) {
    EXPECT_TRUE(kinds_of("constant").has(kind));
  }
  for (const MetadataKind kind :
       {MetadataKind::kActiveL2, MetadataKind::kRefcountBlock, MetadataKind::kInactiveL1}) {
    EXPECT_FALSE(kinds_of("constant").has(kind));
    EXPECT_TRUE(kinds_of("cached").has(kind));
  }
  EXPECT_FALSE(kinds_of("cached").has(MetadataKind::kInactiveL2));
  EXPECT_TRUE(kinds_of("all").has(MetadataKind::kInactiveL2));
  EXPECT_EQ(MetadataKinds::of({}), kinds_of("cached"));
}

TEST(MetadataKinds, SingleOptionsCorrectTheTemplate) {
  OverlapCheckOptions options;
  options.check_template = "none";
  options.kinds[static_cast<size_t>(MetadataKind::kInactiveL2)] = true;
  EXPECT_EQ(MetadataKinds::of(options), MetadataKinds(MetadataKind::kInactiveL2));
  options.check_template = "all";
  options.kinds[static_cast<size_t>(MetadataKind::kInactiveL2)] = false;
  EXPECT_EQ(MetadataKinds::of(options), kinds_of("cached"));
}

TEST(MetadataKinds, InvalidTemplatesAreRefused) {
  OverlapCheckOptions options;
  options.check = "foo";
  const std::string unsupported = "qcow2-overlap-check-unknown 'foo' ''";
  EXPECT_EQ(refusal_of(options), unsupported);
  options = {};
  options.check_template = "foo";
  EXPECT_EQ(refusal_of(options), unsupported);
  options.check = "none";
  EXPECT_EQ(refusal_of(options), "qcow2-overlap-checks-differ 'none' 'foo'");
  options.check_template = "none";
  EXPECT_EQ(refusal_of(options), "accepted");
}

TEST(ClusterSet, KnowsWhatWasAddedAndNotRemoved) {
  using layout::HostCluster;
  ClusterSet set;
  set.assign({7, 3, 3, 20});
  EXPECT_EQ(set.size(), 3u);
  EXPECT_TRUE(set.overlaps(HostCluster(3), HostCluster(3)));
  EXPECT_FALSE(set.overlaps(HostCluster(4), HostCluster(6)));
  EXPECT_TRUE(set.overlaps(HostCluster(4), HostCluster(7)));
  EXPECT_TRUE(set.overlaps(HostCluster(0), HostCluster(100)));
  EXPECT_FALSE(set.overlaps(HostCluster(21), HostCluster(100)));
  set.add(HostCluster(5));
  set.add(HostCluster(5));
  set.remove(HostCluster(7));
  set.remove(HostCluster(8));
  EXPECT_TRUE(set.overlaps(HostCluster(4), HostCluster(6)));
  EXPECT_FALSE(set.overlaps(HostCluster(6), HostCluster(19)));
}

// An image with a snapshot and a bitmap, whose first guest cluster is where a test puts it.
class OverlapChecks : public WritingTest {
 protected:
  static constexpr uint64_t kCluster = 65536;

  void SetUp() override {
    layout_ = layout_of(kMiB, kCluster);
    open(disks_with_bitmaps(layout_, {{"stays", 0}}), layout_);
    write(0, pattern(0, 4 * kCluster, 1));
    close_and_check();
    disks_ = opened_.snapshot();
    share_everything(*disks_.file, kCluster);
    open(clone(disks_), layout_);
    write(0, pattern(0, 2 * kCluster, 2));  // an L2 table of its own
    close_and_check();
    disks_ = opened_.snapshot();
  }

  uint64_t word(uint64_t at) { return load_big_endian<uint64_t>(disks_.file->get(at, 8).data()); }
  uint64_t l2_table() { return word(word(40)) & layout::L1Entry::kOffsetMask; }
  uint64_t inactive_l1() { return word(word(64)); }

  // Opens the image with its first guest cluster at this host offset.
  void open_with_data_at(uint64_t place, const std::string& check) {
    Disks broken = clone(disks_);
    uint8_t entry[8];
    store_big_endian<uint64_t>(entry, place | layout::L2Entry::kCopied);
    broken.file->put(l2_table(), ConstBytes(entry));
    OpenOptions options = for_writing();
    options.overlap_check.check = check;
    options.on_warning = [this](const Warning& warning) { warnings_.push_back(warning); };
    warnings_.clear();
    open(std::move(broken), layout_, options);
  }

  void expect_refused(uint64_t place, const std::string& check, const std::string& name) {
    SCOPED_TRACE(name);
    open_with_data_at(place, check);
    const std::vector<uint8_t> before = opened_.file_memory->get(place, kCluster);
    const Error error = refusal([&] { write(0, pattern(0, kCluster, 3)); });
    EXPECT_EQ(error.errno_value(), EIO);
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_EQ(warnings_[0].kind, WarningKind::kMarkedCorrupt);
    EXPECT_EQ(warnings_[0].problem.data().code, "qcow2-overlap");
    EXPECT_EQ(warnings_[0].problem.data().name, name);
    EXPECT_EQ(error.message(), warnings_[0].problem.message());
    const std::vector<uint8_t> after = opened_.file_memory->get(place, kCluster);
    EXPECT_EQ(first_difference(before, after), std::nullopt);
    // Marked as corrupt at once; every further request is refused.
    EXPECT_EQ(opened_.snapshot().file->get(79, 1)[0] & 2, 2);
    EXPECT_EQ(refusal([&] { write(kCluster, pattern(0, 512, 3)); }).errno_value(), ENOMEDIUM);
    EXPECT_EQ(refusal([&] { read(kCluster, 512); }).errno_value(), ENOMEDIUM);
    loop_.run(image().close());
  }
  void expect_written(uint64_t place, const std::string& check) {
    open_with_data_at(place, check);
    write(0, pattern(0, kCluster, 3));
    EXPECT_EQ(opened_.file_memory->get(place, kCluster), pattern(0, kCluster, 3));
    loop_.run(image().close());
  }

  Layout layout_;
  Disks disks_;
  std::vector<Warning> warnings_;
};

TEST_F(OverlapChecks, EachKindOfMetadataIsProtectedFromGuestWrites) {
  expect_refused(word(40), "constant", "active L1 table");
  expect_refused(word(48), "constant", "refcount table");
  expect_refused(word(64), "constant", "snapshot table");
  const uint64_t directory = layout::HeaderCluster::parse(disks_.file->get(0, kCluster), {})
                                 .extensions.bitmaps->directory_offset.value();
  expect_refused(directory, "constant", "bitmap directory");
  expect_refused(l2_table(), "cached", "active L2 table");
  expect_refused(word(word(48)), "cached", "refcount block");
  expect_refused(inactive_l1(), "cached", "inactive L1 table");
  const uint64_t inactive_l2 = word(inactive_l1()) & layout::L1Entry::kOffsetMask;
  expect_refused(inactive_l2, "all", "inactive L2 table");
}

TEST_F(OverlapChecks, WhatIsNotCheckedIsWritten) {
  const uint64_t inactive_l2 = word(inactive_l1()) & layout::L1Entry::kOffsetMask;
  expect_written(inactive_l2, "cached");
  expect_written(inactive_l1(), "constant");
  expect_written(word(64), "none");
}

TEST_F(OverlapChecks, TheHeaderIsNeverAllocated) {
  Disks broken = clone(disks_);
  broken.file->put(word(word(48)), std::vector<uint8_t>{0, 0});  // its refcount
  OpenOptions options = for_writing();
  options.overlap_check.check = "none";
  open(std::move(broken), layout_, options);
  const std::vector<uint8_t> header = opened_.file_memory->get(0, 72);
  EXPECT_THROW(write(8 * kCluster, pattern(0, kCluster, 3)), Error);
  EXPECT_EQ(opened_.file_memory->get(0, 72), header);
  loop_.run(image().close());
}

TEST_F(OverlapChecks, NewTablesAreProtectedToo) {
  open(layout_of(600 * kMiB, kCluster));
  write(0, pattern(0, kCluster, 1));
  const uint64_t second = 540 * kMiB;
  write(second, pattern(0, kCluster, 1));  // its L2 table is new
  flush();
  // The refcounts of the file say that the table is free.
  const uint64_t table = parts().tables.l1.entry(1) & layout::L1Entry::kOffsetMask;
  EXPECT_THROW(parts().write_parts().overlap.check(layout::HostOffset(table), 512), Error);
  loop_.run(image().close());
}

TEST_F(OverlapChecks, ATableThatOverlapsAnotherIsNotWritten) {
  // The second L2 table of the L1 table is the first refcount block.
  const Layout layout = layout_of(600 * kMiB, kCluster);
  open(layout);
  write(0, pattern(0, kCluster, 1));
  loop_.run(image().close());
  Disks broken = opened_.snapshot();
  const auto load = [&](uint64_t at) {
    return load_big_endian<uint64_t>(broken.file->get(at, 8).data());
  };
  const uint64_t block = load(load(48));
  uint8_t entry[8];
  store_big_endian<uint64_t>(entry, block | layout::L1Entry::kCopied);
  broken.file->put(load(40) + 8, ConstBytes(entry));
  const std::vector<uint8_t> before = broken.file->get(block + 1024, 512);
  open(std::move(broken), layout);
  EXPECT_THROW(
      {
        write(512 * kMiB + 128 * kCluster, pattern(0, kCluster, 2));
        flush();
      },
      Error);
  EXPECT_EQ(opened_.file_memory->get(block + 1024, 512), before);
  EXPECT_THROW(loop_.run(image().close()), Error);
  EXPECT_EQ(opened_.snapshot().file->get(79, 1)[0] & 2, 2);
}

class FirstWrite : public WritingTest {};

// The first write may fail and be retried: what it has loaded by then is loaded again.
TEST_F(FirstWrite, ARetryDoesNotOverestimateTheSnapshotTable) {
  const Layout layout = layout_of(16 * 1024, 512);
  open(layout);
  write(0, pattern(0, 512, 1));
  close_and_check();
  Disks disks = opened_.snapshot();
  share_everything(*disks.file, 512);
  open(std::move(disks), layout);
  write(0, pattern(0, 512, 2));
  WriteParts& writing = parts().write_parts();
  const uint64_t table = image().header().snapshots_offset.value();
  const uint64_t data = *extents()[0].host_offset;
  EXPECT_THROW(writing.overlap.check(layout::HostOffset(table), 512), Error);
  for (int i = 0; i < 20; ++i) loop_.run(writing.overlap.load(writing.refcounts));
  // The new L2 table and the new data are after it.
  EXPECT_EQ(data, table + 1024);
  EXPECT_NO_THROW(writing.overlap.check(layout::HostOffset(data), 512));
}

}  // namespace
}  // namespace byre::qcow2::test
