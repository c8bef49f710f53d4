// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/snapshots.h"

#include <utility>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSize = 4 * kMiB;

NewSnapshot named(std::string name) {
  NewSnapshot snapshot;
  snapshot.name = std::move(name);
  snapshot.date_sec = 1'700'000'000;
  snapshot.date_nsec = 5;
  return snapshot;
}

SnapshotSelector by_name(std::string name) {
  SnapshotSelector selector;
  selector.name = std::move(name);
  return selector;
}

class SnapshotTest : public WritingTest {
 protected:
  void create(const std::string& name) { loop_.run(image().create_snapshot(named(name))); }
  void apply(const std::string& name) { loop_.run(image().apply_snapshot(by_name(name))); }
  void remove(const std::string& name) { loop_.run(image().delete_snapshot(by_name(name))); }
  std::vector<uint8_t> all() { return read(0, image().size()); }
  // The contents of a snapshot in the files as they are now.
  std::vector<uint8_t> contents_of(const std::string& name) {
    OpenImage again = loop_.run(open_disks(opened_.snapshot(), {}, {}));
    loop_.run(again.image->load_snapshot(by_name(name)));
    std::vector<uint8_t> bytes = loop_.run(read_all(again.image.get()));
    loop_.run(again.image->close());
    return bytes;
  }
  std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const layout::Snapshot& snapshot : image().snapshots()) names.push_back(snapshot.name);
    return names;
  }
};

std::vector<Layout> layouts() {
  std::vector<Layout> layouts;
  for (const uint32_t bits : {2u, 8u, 16u, 64u}) {
    Layout layout = layout_of(kSize, kCluster);
    layout.create.refcount_bits = bits;
    layouts.push_back(layout);
  }
  Layout old = layout_of(kSize, 512);
  old.create.version = 2;
  layouts.push_back(old);
  Layout extended = layout_of(kSize, 16384);
  extended.create.extended_l2 = true;
  layouts.push_back(extended);
  Layout lazy = layout_of(kSize, 65536);
  lazy.create.lazy_refcounts = true;
  layouts.push_back(lazy);
  Layout large = layout_of(kSize, 2 * kMiB);
  layouts.push_back(large);
  return layouts;
}

TEST_F(SnapshotTest, KeepsContentsWhateverIsWrittenLater) {
  for (const Layout& layout : layouts()) {
    open(layout);
    write(0, pattern(0, 64 * kKiB, 1));
    write(kMiB + 100, pattern(0, 70'000, 2));
    zero(2 * kMiB, 300 * kKiB);
    const std::vector<uint8_t> before = all();
    create("one");
    write(kMiB, pattern(0, kMiB, 3));
    discard(0, 32 * kKiB);
    const std::vector<uint8_t> between = all();
    create("two");
    write(0, pattern(0, kSize, 4));
    const std::vector<uint8_t> after = all();
    EXPECT_EQ(contents_of("one"), before);
    EXPECT_EQ(contents_of("two"), between);
    apply("one");
    EXPECT_EQ(all(), before);
    write(kMiB, pattern(0, 100'000, 5));
    apply("two");
    EXPECT_EQ(all(), between);
    remove("one");
    EXPECT_EQ(all(), between);
    EXPECT_EQ(names(), std::vector<std::string>{"two"});
    EXPECT_EQ(contents_of("two"), between);
    write(0, after);
    remove("two");
    EXPECT_EQ(all(), after);
    close_and_check();
  }
}

TEST_F(SnapshotTest, CompressedClustersAreShared) {
  open(layout_of(kSize, kCluster));
  const std::vector<uint8_t> bytes = compressible(0, 64 * kCluster, 1);
  write(0, bytes, WriteFlags::kCompressed);
  create("one");
  EXPECT_EQ(read(0, bytes.size()), bytes);
  write(0, pattern(0, bytes.size(), 2));
  write(128 * kCluster, bytes, WriteFlags::kCompressed);
  apply("one");
  EXPECT_EQ(read(0, bytes.size()), bytes);
  remove("one");
  EXPECT_EQ(read(0, bytes.size()), bytes);
  close_and_check();
}

TEST_F(SnapshotTest, WhatIsNotWrittenAfterwardsIsWrittenInPlaceAgainOnceTheSnapshotIsGone) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kSize, 1));
  create("one");
  remove("one");
  flush();
  const uint64_t size = opened_.file->size();
  opened_.file->clear_events();
  write(0, pattern(0, kSize, 2));
  flush();
  EXPECT_EQ(opened_.file->size(), size);
  close_and_check();
}

TEST_F(SnapshotTest, IdsAndFieldsAreThoseOfQemu) {
  open(layout_of(kSize, kCluster));
  create("one");
  create("two");
  remove("one");
  create("one");
  const std::vector<layout::Snapshot>& snapshots = image().snapshots();
  ASSERT_EQ(snapshots.size(), 2u);
  EXPECT_EQ(snapshots[0].id, "2");
  EXPECT_EQ(snapshots[1].id, "3");
  EXPECT_EQ(snapshots[1].date_sec, 1'700'000'000u);
  EXPECT_EQ(snapshots[1].date_nsec, 5u);
  EXPECT_EQ(snapshots[1].disk_size, kSize);
  EXPECT_EQ(snapshots[1].icount, 0u);
  close_and_check();
}

TEST_F(SnapshotTest, TheDiskGetsTheSizeOfTheSnapshot) {
  open(layout_of(kSize, kCluster));
  write(kSize - kCluster, pattern(0, kCluster, 1));
  const std::vector<uint8_t> before = all();
  create("small");
  loop_.run(image().resize(3 * kSize, Preallocation::kOff));
  write(2 * kSize, pattern(0, kMiB, 2));
  const std::vector<uint8_t> large = all();
  create("large");
  apply("small");
  EXPECT_EQ(image().size(), kSize);
  EXPECT_EQ(all(), before);
  apply("large");
  EXPECT_EQ(image().size(), 3 * kSize);
  EXPECT_EQ(all(), large);
  close_and_check();
}

TEST_F(SnapshotTest, KeepsTheVmState) {
  open(layout_of(kSize, kCluster));
  const std::vector<uint8_t> state = pattern(0, 300'000, 1);
  loop_.run(image().write_vm_state(0, ConstBytes(state)));
  NewSnapshot snapshot = named("one");
  snapshot.vm_state_size = state.size();
  snapshot.vm_clock_nsec = 77;
  loop_.run(image().create_snapshot(snapshot));
  const std::vector<uint8_t> other = pattern(0, 300'000, 2);
  loop_.run(image().write_vm_state(0, ConstBytes(other)));
  apply("one");
  std::vector<uint8_t> bytes(state.size());
  loop_.run(image().read_vm_state(0, Bytes(bytes)));
  EXPECT_EQ(bytes, state);
  EXPECT_EQ(image().snapshots().front().vm_state_size, state.size());
  EXPECT_EQ(image().snapshots().front().vm_clock_nsec, 77u);
  close_and_check();
}

TEST_F(SnapshotTest, ARefcountThatCannotBeRaisedLeavesEverythingAsItWas) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.refcount_bits = 1;
  open(layout);
  write(0, pattern(0, kMiB, 1));
  const std::vector<uint8_t> before = all();
  const Error error = refusal([&] { create("one"); });
  EXPECT_EQ(error.errno_value(), EINVAL);
  EXPECT_TRUE(image().snapshots().empty());
  write(kMiB, pattern(0, kMiB, 2));
  EXPECT_EQ(read(0, kMiB), pattern(0, kMiB, 1));
  close_and_check();
}

TEST_F(SnapshotTest, ApplyingNeedsNoRoomInARefcount) {
  Layout layout = layout_of(kSize, kCluster);
  layout.create.refcount_bits = 2;
  open(layout);
  write(0, pattern(0, kMiB, 1));
  create("one");
  create("two");
  EXPECT_THROW(create("three"), Error);
  apply("one");
  apply("two");
  close_and_check();
}

TEST_F(SnapshotTest, IsRefusedWithoutAChange) {
  open(layout_of(kSize, kCluster));
  EXPECT_EQ(refusal([&] { apply("none"); }).errno_value(), ENOENT);
  EXPECT_EQ(refusal([&] { remove("none"); }).errno_value(), ENOENT);
  EXPECT_EQ(refusal([&] { create(std::string(256, 'x')); }).errno_value(), ENAMETOOLONG);
  create(std::string(255, 'x'));
  close_and_check();
  Layout layout = layout_of(kSize, kCluster);
  layout.create.data_filename = "data";
  open(layout);
  EXPECT_EQ(refusal([&] { create("one"); }).errno_value(), ENOTSUP);
  EXPECT_EQ(refusal([&] { apply("one"); }).errno_value(), ENOTSUP);
  EXPECT_EQ(refusal([&] { remove("one"); }).errno_value(), ENOENT);
  close_and_check();
}

// A point in time between requests: each request is in the snapshot as a whole or not at all.
TEST_F(SnapshotTest, BesideRequests) {
  open(layout_of(kSize, kCluster));
  write(0, std::vector<uint8_t>(kSize, 1));
  opened_.file->set_delays(7, 5);
  std::vector<Task<void>> tasks;
  const std::vector<uint8_t> twos(16 * kCluster, 2);
  for (uint64_t at = 0; at + twos.size() <= kSize / 2; at += twos.size()) {
    tasks.push_back(image().write(at, ConstBytes(twos)));
  }
  tasks.push_back(image().create_snapshot(named("one")));
  for (uint64_t at = kSize / 2; at + twos.size() <= kSize; at += twos.size()) {
    tasks.push_back(image().write(at, ConstBytes(twos)));
  }
  loop_.run(when_all(std::move(tasks)));
  EXPECT_EQ(all(), std::vector<uint8_t>(kSize, 2));
  const std::vector<uint8_t> frozen = contents_of("one");
  for (uint64_t at = 0; at < kSize; at += twos.size()) {
    EXPECT_EQ(frozen[at], frozen[at + twos.size() - 1]) << at;
  }
  close_and_check();
}

TEST_F(SnapshotTest, TellsWhatDeletingFrees) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kMiB, 1));
  create("one");
  // The L1 table alone, and the L2 table that the disk does not share any more.
  EXPECT_EQ(loop_.run(image().size_freed_by_deleting(by_name("one"))), 2 * kCluster);
  write(0, pattern(0, kMiB / 2, 2));
  EXPECT_EQ(loop_.run(image().size_freed_by_deleting(by_name("one"))), kMiB / 2 + 2 * kCluster);
  close_and_check();
}

// On a full disk deleting a snapshot gives space back.
TEST_F(SnapshotTest, IsDeletedWithoutAFreeCluster) {
  open(layout_of(kSize, kCluster));
  write(0, pattern(0, kSize / 2, 1));
  create("first");
  write(0, pattern(0, kSize / 4, 2));
  create("second");
  write(0, pattern(0, kSize / 4, 3));
  flush();
  opened_.file->set_size_max(opened_.file->size());
  const auto fill = [&] {
    uint64_t at = kSize / 2;
    for (; at < kSize; at += kCluster) {
      try {
        write(at, pattern(at, kCluster, 4));
      } catch (const Error&) {
        break;
      }
    }
    return at;
  };
  const uint64_t filled = fill();
  flush();
  const std::vector<uint8_t> contents = all();
  EXPECT_EQ(refusal([&] { create("third"); }).kind(), ErrorKind::kNoSpace);
  const Error error = refusal([&] { remove("first"); });
  EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
  EXPECT_FALSE(error.hint().empty());
  remove("second");
  EXPECT_EQ(names(), std::vector<std::string>{"first"});
  EXPECT_EQ(all(), contents);
  EXPECT_EQ(contents_of("first").front(), pattern(0, 1, 1).front());
  remove("first");
  EXPECT_EQ(all(), contents);
  write(filled, pattern(filled, kCluster, 5));
  close_and_check();
}

TEST_F(SnapshotTest, LeaksOfADeletionOnAFullDiskAreReported) {
  std::vector<WarningKind> warnings;
  OpenOptions options = for_writing();
  options.on_warning = [&](const Warning& warning) { warnings.push_back(warning.kind); };
  open(layout_of(kSize, kCluster), std::move(options));
  write(0, pattern(0, kSize / 2, 1));
  create("one");
  flush();
  opened_.file->set_size_max(opened_.file->size());
  for (uint64_t at = kSize / 2; at < kSize; at += kCluster) {
    try {
      write(at, pattern(at, kCluster, 2));
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNoSpace);
      break;
    }
  }
  const std::vector<uint8_t> contents = all();
  remove("one");
  EXPECT_EQ(warnings, std::vector<WarningKind>{WarningKind::kLeaked});
  EXPECT_EQ(all(), contents);
  loop_.run(image().close());
  expect_sound(opened_.snapshot(), true);
}

// Whatever fails: the image is as before or as afterwards, and sound.
TEST_F(SnapshotTest, AFailureAtAnyRequestToTheFileIsNoHalfWay) {
  using faults::Operation;
  for (const Operation operation : {Operation::kRead, Operation::kWrite, Operation::kFlush}) {
    bool has_failed = true;
    for (uint64_t number = 1; has_failed; ++number) {
      open(layout_of(kSize, kCluster));
      write(0, pattern(0, kMiB, 1));
      create("one");
      write(0, pattern(0, kMiB / 2, 2));
      const std::vector<uint8_t> contents = all();
      flush();
      opened_.file->add_rule({.operation = operation, .first = number});
      has_failed = false;
      try {
        if (number % 2 == 0) {
          create("two");
        } else {
          remove("one");
        }
      } catch (const Error&) {
        has_failed = true;
      }
      expect_sound(opened_.snapshot(), true);
      OpenImage again = loop_.run(open_disks(opened_.snapshot(), {}, {}));
      EXPECT_EQ(loop_.run(read_all(again.image.get())), contents);
      loop_.run(again.image->close());
      try {
        loop_.run(image().close());
      } catch (const Error&) {
      }
    }
  }
}

}  // namespace
}  // namespace byre::qcow2::test
