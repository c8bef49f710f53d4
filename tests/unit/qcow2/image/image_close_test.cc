// SPDX-License-Identifier: Apache-2.0
// Requests that are too late, and failures, when an image is closed.
#include <gtest/gtest.h>

#include "async/when_all.h"
#include "unit/qcow2/writing_test.h"
#include "unit/support/pattern.h"

namespace byre::qcow2 {
namespace {

using byre::test::pattern;

constexpr uint64_t kCluster = 65536;
constexpr uint64_t kSize = 64 * kCluster;

class ImageClose : public test::WritingTest {};

TEST_F(ImageClose, NoRequestIsAcceptedAfterIt) {
  open(test::layout_of(kSize, kCluster));
  write(0, pattern(0, kCluster, 1));
  loop_.run(image().close());
  EXPECT_EQ(refusal([&] { read(0, 512); }).errno_value(), EBADF);
  EXPECT_EQ(refusal([&] { write(0, pattern(0, 512, 2)); }).errno_value(), EBADF);
  EXPECT_EQ(refusal([&] { zero(0, 512); }).errno_value(), EBADF);
  EXPECT_EQ(refusal([&] { discard(0, 512); }).errno_value(), EBADF);
  EXPECT_EQ(refusal([&] { flush(); }).errno_value(), EBADF);
  EXPECT_EQ(refusal([&] { extents(); }).errno_value(), EBADF);
  EXPECT_EQ(
      refusal([&] { loop_.run(image().resize(2 * kSize, Preallocation::kOff)); }).errno_value(),
      EBADF);
  loop_.run(image().close());
}

Task<void> write_and_note(Image* image, uint64_t offset, ConstBytes bytes, bool* done) {
  try {
    co_await image->write(offset, bytes);
    *done = true;
  } catch (const Error& error) {
    EXPECT_EQ(error.errno_value(), EBADF) << error.message();
  }
}

// A request that had begun but is too late is refused.
TEST_F(ImageClose, RequestsThatSucceedMeanwhileAreInTheImage) {
  const std::vector<uint8_t> bytes = pattern(0, 8 * kCluster, 1);
  size_t done_count = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    open(test::layout_of(kSize, kCluster));
    if (seed % 2 != 0) write(kSize - 512, pattern(0, 512, 3));
    opened_.file->set_delays(seed, 20);
    bool done[8] = {};
    std::vector<Task<void>> tasks;
    for (uint64_t i = 0; i < 8; ++i) {
      const ConstBytes cluster = ConstBytes(bytes).subspan(i * kCluster, kCluster);
      tasks.push_back(write_and_note(&image(), i * kCluster, cluster, &done[i]));
    }
    tasks.push_back(image().close());
    loop_.run(when_all(std::move(tasks)));
    test::OpenImage again = loop_.run(test::open_disks(opened_.snapshot(), {}, {}));
    for (uint64_t i = 0; i < 8; ++i) {
      if (!done[i]) continue;
      ++done_count;
      std::vector<uint8_t> found(kCluster);
      loop_.run(again.image->read(i * kCluster, Bytes(found)));
      EXPECT_EQ(found, pattern(i * kCluster, kCluster, 1)) << "seed " << seed;
    }
    loop_.run(again.image->close());
  }
  EXPECT_GE(done_count, 100u);
}

TEST_F(ImageClose, SaysWhichTablesAreLost) {
  open(test::layout_of(kSize, kCluster));
  write(0, pattern(0, kCluster, 1));
  opened_.file->add_rule(
      {.operation = faults::Operation::kWrite, .count = UINT64_MAX, .errno_value = ENOSPC});
  const Error error = refusal([&] { loop_.run(image().close()); });
  EXPECT_EQ(error.data().code, "qcow2-l2-tables-not-written");
  EXPECT_EQ(error.errno_value(), ENOSPC);
  ASSERT_EQ(error.more().size(), 1u);
  EXPECT_EQ(error.more()[0].data().code, "qcow2-refcounts-not-written");
  EXPECT_EQ(error.more()[0].errno_value(), ENOSPC);
}

}  // namespace
}  // namespace byre::qcow2
