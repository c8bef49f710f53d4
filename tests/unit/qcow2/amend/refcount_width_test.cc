// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/refcount_width.h"

#include "unit/qcow2/amend/amended_image.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kSize = 2 * kMiB;

class RefcountWidthTest : public AmendTest {
 protected:
  // Data, compressed data and holes; snapshots as far as the refcounts allow.
  void fill(const Layout& layout) {
    names_.clear();
    open(layout);
    const bool shares = layout.create.refcount_bits > 2;
    write(0, pattern(0, 700'000, 1));
    write(kMiB, compressible(kMiB, layout.create.cluster_size, 2), WriteFlags::kCompressed);
    if (shares) create("one");
    write(100'000, pattern(0, 50'000, 3));
    discard(300 * kKiB, 64 * kKiB);
    if (shares) create("two");
    zero(1'500'000, 10'000);
    flush();
  }
};

Layout layout_with(uint32_t bits, uint64_t cluster_size) {
  Layout layout = layout_of(kSize, cluster_size);
  layout.create.refcount_bits = bits;
  return layout;
}

TEST_F(RefcountWidthTest, AnyWidthBecomesAnyOther) {
  for (const uint64_t cluster_size : {512u, 4096u, 65536u}) {
    for (const uint32_t from : {1u, 2u, 4u, 8u, 16u, 32u, 64u}) {
      for (const uint32_t to : {1u, 2u, 4u, 8u, 16u, 32u, 64u}) {
        SCOPED_TRACE(testing::Message() << cluster_size << ": " << from << " to " << to);
        fill(layout_with(from, cluster_size));
        const Contents before = contents();
        if (from == to) continue;
        const bool fits = to > 1 || from <= 2;
        if (!fits) {
          const Error error = refusal([&] { set_bits(to); });
          EXPECT_EQ(error.data().code, "qcow2-refcount-too-large");
          EXPECT_EQ(image().header().refcount_bits(), from);
          close_and_check();
          continue;
        }
        set_bits(to);
        EXPECT_EQ(image().header().refcount_bits(), to);
        EXPECT_EQ(header_in_file().refcount_bits(), to);
        EXPECT_EQ(contents(), before);
        expect_sound(opened_.snapshot(), false);
        // The image goes on with the new width.
        write(1'600'000, pattern(0, 200'000, 4));
        discard(0, 128 * kKiB);
        EXPECT_EQ(read(1'600'000, 200'000), pattern(0, 200'000, 4));
        close_and_check();
      }
    }
  }
}

TEST_F(RefcountWidthTest, ARefcountThatDoesNotFitChangesNothing) {
  const Layout layout = layout_with(16, 4096);
  fill(layout);
  reopen(layout);
  const Disks before = opened_.snapshot();
  const Error error = refusal([&] { set_bits(1); });
  EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  EXPECT_EQ(error.errno_value(), EINVAL);
  EXPECT_GT(*error.data().value, 1u);
  EXPECT_THROW(loop_.run(image().check_refcount_bits(1)), Error);
  loop_.run(image().check_refcount_bits(2));
  EXPECT_EQ(opened_.file_memory->get(0, before.file->size()),
            before.file->get(0, before.file->size()));
  EXPECT_EQ(opened_.file_memory->size(), before.file->size());
  close_and_check();
}

TEST_F(RefcountWidthTest, ReadsEachBlockOnceAndCountsItsOwnClusters) {
  const Layout layout = layout_with(16, 512);
  fill(layout);
  uint64_t last = 0;
  uint64_t total = 0;
  loop_.run(image().set_refcount_bits(64, [&](uint64_t done, uint64_t of) {
    EXPECT_GE(done, last);
    EXPECT_LE(done, of);
    last = done;
    total = of;
  }));
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 20u);
  close_and_check();
}

TEST_F(RefcountWidthTest, CanBeStopped) {
  const Layout layout = layout_with(16, 512);
  fill(layout);
  const Contents before = contents();
  const uint64_t size = opened_.file->size();
  for (uint64_t stop_at = 1; stop_at < 28; stop_at += 3) {
    uint64_t calls = 0;
    const AmendProgress stop = [&](uint64_t, uint64_t) {
      if (++calls == stop_at) throw Error(ErrorKind::kCancelled, ECANCELED, "stopped");
    };
    EXPECT_THROW(loop_.run(image().set_refcount_bits(64, stop)), Error);
    EXPECT_EQ(image().header().refcount_bits(), 16u);
    EXPECT_LE(opened_.file->size(), size);
    EXPECT_EQ(contents(), before);
    expect_sound(opened_.snapshot(), false);
  }
  set_bits(64);
  EXPECT_EQ(contents(), before);
  close_and_check();
}

TEST_F(RefcountWidthTest, WithoutSpaceTheImageIsAsBefore) {
  const Layout layout = layout_with(16, 512);
  fill(layout);
  const Contents before = contents();
  const uint64_t size = opened_.file->size();
  opened_.file->set_size_max(size);
  EXPECT_EQ(refusal([&] { set_bits(64); }).kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(image().header().refcount_bits(), 16u);
  EXPECT_LE(opened_.file->size(), size);
  EXPECT_EQ(contents(), before);
  opened_.file->set_size_max(UINT64_MAX);
  set_bits(64);
  EXPECT_EQ(contents(), before);
  close_and_check();
}

TEST_F(RefcountWidthTest, AFailureAtAnyRequestIsNoHalfWay) {
  using faults::Operation;
  for (const Operation operation : {Operation::kRead, Operation::kWrite, Operation::kFlush}) {
    bool has_failed = true;
    for (uint64_t number = 1; has_failed; ++number) {
      fill(layout_with(16, 4096));
      const Contents before = contents();
      opened_.file->add_rule({.operation = operation, .first = number});
      has_failed = false;
      try {
        set_bits(8);
      } catch (const Error&) {
        has_failed = true;
      }
      expect_sound(opened_.snapshot(), true);
      EXPECT_EQ(contents(), before);
      const uint32_t bits = header_in_file().refcount_bits();
      EXPECT_TRUE(bits == 8 || (has_failed && bits == 16)) << bits;
      try {
        loop_.run(image().close());
      } catch (const Error&) {
      }
      expect_sound(opened_.snapshot(), true);
      EXPECT_EQ(contents(), before);
    }
  }
}

TEST_F(RefcountWidthTest, BitmapsStayValid) {
  Layout layout = layout_of(kSize, 65536);
  using namespace layout::bitmap_flag;
  open(disks_with_bitmaps(layout, {{"follows", kAuto}, {"other", 0}}), layout);
  set_bits(32);
  loop_.run(image().set_lazy_refcounts(true));
  reopen(layout);
  ASSERT_EQ(image().bitmaps().size(), 2u);
  EXPECT_FALSE(image().bitmaps().front().in_use());
  // The first write makes the one that byre does not keep up to date invalid, also after a change.
  set_bits(16);
  write(0, pattern(0, 100, 1));
  close_and_check();
  open(opened_.snapshot(), layout);
  EXPECT_TRUE(image().bitmaps().front().in_use());
  EXPECT_FALSE(image().bitmaps().back().in_use());
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
