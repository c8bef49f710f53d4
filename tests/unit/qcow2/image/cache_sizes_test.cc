// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/cache_sizes.h"

#include <gtest/gtest.h>

#include <bit>
#include <chrono>

#include "base/units.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

layout::Geometry geometry_of(uint64_t cluster_size) {
  layout::Header header;
  header.version = 3;
  header.cluster_bits = static_cast<uint32_t>(std::countr_zero(cluster_size));
  return layout::Geometry(header);
}

CacheSizes sizes_of(const CacheOptions& options, uint64_t disk_size = kTiB,
                    uint64_t cluster_size = 65536) {
  return CacheSizes::of(options, geometry_of(cluster_size), disk_size);
}

std::string refusal_of(const CacheOptions& options) {
  try {
    sizes_of(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
    return std::string(error.data().code);
  }
  return "accepted";
}

TEST(CacheSizes, ByDefaultTheL2CacheHoldsTheDisksTablesOr32MiB) {
  EXPECT_EQ(sizes_of({}, kGiB).l2_slices_max * 16384, 2u * 65536);
  EXPECT_EQ(sizes_of({}, kTiB).l2_slices_max * 16384, 32 * kMiB);
  EXPECT_EQ(sizes_of({}, kTiB).refcount_slices_max * 16384, 4 * kMiB);
  EXPECT_EQ(sizes_of({}, kTiB, 512).l2_slice_size, 512u);
  EXPECT_EQ(sizes_of({}).clean_interval.count(), 600);
}

TEST(CacheSizes, NoCacheIsSmallerThanWhatOneRequestNeeds) {
  const CacheSizes sizes = sizes_of({.l2_cache_size = 0, .refcount_cache_size = 0});
  EXPECT_EQ(sizes.l2_slices_max, 2u);
  EXPECT_EQ(sizes.refcount_slices_max, 4u);
}

TEST(CacheSizes, TheTotalSizeGoesToTheL2TablesFirst) {
  const CacheSizes small = sizes_of({.cache_size = kMiB});
  EXPECT_EQ(small.l2_slices_max * 16384, kMiB - 4 * 65536);
  EXPECT_EQ(small.refcount_slices_max * 16384, 4u * 65536);
  const CacheSizes ample = sizes_of({.cache_size = 16 * kMiB}, kGiB);
  EXPECT_EQ(ample.l2_slices_max * 16384, 2u * 65536);
  EXPECT_EQ(ample.refcount_slices_max * 16384, 16 * kMiB - 2 * 65536);
  const CacheSizes l2 = sizes_of({.cache_size = 3 * kMiB, .l2_cache_size = kMiB});
  EXPECT_EQ(l2.refcount_slices_max * 16384, 2 * kMiB);
  const CacheSizes refcount = sizes_of({.cache_size = 3 * kMiB, .refcount_cache_size = kMiB});
  EXPECT_EQ(refcount.l2_slices_max * 16384, 2 * kMiB);
}

TEST(CacheSizes, TheEntrySizeIsTheSliceSize) {
  const CacheSizes sizes = sizes_of({.l2_cache_size = kMiB, .l2_cache_entry_size = 4096});
  EXPECT_EQ(sizes.l2_slice_size, 4096u);
  EXPECT_EQ(sizes.l2_slices_max, 256u);
}

TEST(CacheSizes, BadCombinationsAreRefused) {
  EXPECT_EQ(refusal_of({.cache_size = kMiB, .l2_cache_size = 2 * kMiB}),
            "qcow2-l2-cache-above-both");
  EXPECT_EQ(refusal_of({.cache_size = kMiB, .refcount_cache_size = 2 * kMiB}),
            "qcow2-refcount-cache-above-both");
  EXPECT_EQ(refusal_of({.cache_size = kMiB, .l2_cache_size = 1, .refcount_cache_size = 1}),
            "qcow2-cache-sizes-all");
  for (const uint64_t size : {0, 100, 256, 131072}) {
    EXPECT_EQ(refusal_of({.l2_cache_entry_size = size}), "qcow2-l2-cache-entry-size-wrong");
  }
  EXPECT_EQ(refusal_of({.refcount_cache_size = UINT64_MAX}), "qcow2-refcount-cache-too-large");
  EXPECT_EQ(refusal_of({.cache_size = UINT64_MAX}), "qcow2-refcount-cache-too-large");
  EXPECT_EQ(refusal_of({.clean_interval = uint64_t{1} << 32}), "qcow2-cache-interval-too-large");
  EXPECT_EQ(refusal_of({.l2_cache_size = UINT64_MAX}), "accepted");  // limited to the tables
}

class OptionsOfImages : public WritingTest {};

TEST_F(OptionsOfImages, VersionTwoHasNeitherLazyRefcountsNorDiscardNoUnref) {
  Layout layout = layout_of(kMiB, 65536);
  layout.create.version = 2;
  OpenOptions options = for_writing();
  options.lazy_refcounts = true;
  EXPECT_EQ(refusal([&] { open(layout, options); }).data().code, "qcow2-lazy-refcounts-refused");
  options.lazy_refcounts.reset();
  options.discard_no_unref = true;
  EXPECT_EQ(refusal([&] { open(layout, options); }).data().code, "qcow2-discard-no-unref-refused");
}

TEST_F(OptionsOfImages, LazyRefcountsCanBeSwitchedOnAndOffForAnImage) {
  for (const bool in_header : {false, true}) {
    Layout layout = layout_of(kMiB, 4096);
    layout.create.lazy_refcounts = in_header;
    OpenOptions options = for_writing();
    options.lazy_refcounts = !in_header;
    open(layout, options);
    write(0, pattern(0, 4096, 1));
    flush();
    EXPECT_EQ(opened_.snapshot().file->get(79, 1)[0] & 1, in_header ? 0 : 1);
    if (in_header) expect_sound(opened_.snapshot(), false);
    close_and_check();
    EXPECT_EQ(opened_.snapshot().file->get(79, 1)[0] & 1, 0);
  }
}

TEST_F(OptionsOfImages, SlicesUnusedForTheIntervalLeaveTheCaches) {
  OpenOptions options = for_writing();
  options.cache.clean_interval = 10;
  open(layout_of(64 * kMiB, 512), options);
  write(0, pattern(0, 512, 1));
  write(32 * kMiB, pattern(0, 512, 1));
  flush();
  read(0, 512);
  const uint64_t before = parts().tables.l2_cache.slices();
  parts().cache_cleaner.clean_at(loop_.now());
  // At the second end of an interval only this slice has been used since the first.
  for (const int times : {1, 2}) {
    SCOPED_TRACE(times);
    parts().cache_cleaner.clean_at(loop_.now() + times * std::chrono::seconds(11));
    read(0, 512);
  }
  EXPECT_LT(parts().tables.l2_cache.slices(), before);
  EXPECT_EQ(read(32 * kMiB, 512), pattern(0, 512, 1));
  close_and_check();
}

TEST_F(OptionsOfImages, RequestsThatChangeTheDiskCleanTheCachesToo) {
  OpenOptions options = for_writing();
  options.cache.clean_interval = 10;
  open(layout_of(64 * kMiB, 512), options);
  write(32 * kMiB, pattern(0, 512, 1));
  flush();
  // One of these reads the clock, and an interval begins.
  for (uint64_t i = 0; i < CacheCleaner::kRequestsPerClockRead; ++i) write(0, pattern(0, 512, i));
  flush();
  const uint64_t before = parts().tables.l2_cache.slices();
  for (const int times : {1, 2}) {
    parts().cache_cleaner.clean_at(loop_.now() + times * std::chrono::seconds(11));
    if (times == 1) write(0, pattern(0, 512, 1));
  }
  EXPECT_LT(parts().tables.l2_cache.slices(), before);
  close_and_check();
}

}  // namespace
}  // namespace byre::qcow2::test
