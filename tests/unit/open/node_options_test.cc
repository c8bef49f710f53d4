// SPDX-License-Identifier: Apache-2.0
// Which of their own options the nodes of a tree apply, and what they inherit from the node above.
#include "open/node_options.h"

#include <gtest/gtest.h>

#include <functional>

#include "async/loop.h"
#include "byre/error.h"
#include "filter/filter_device.h"
#include "open/locks.h"
#include "open/open.h"
#include "qcow2/create/create.h"
#include "storage/file_device.h"
#include "storage/memory_device.h"
#include "storage/null_device.h"
#include "unit/open/image_folder_test.h"
#include "unit/support/pattern.h"

namespace byre::open {
namespace {

using byre::test::pattern;

constexpr uint64_t kSize = 1 << 20;
constexpr uint64_t kHalf = kSize / 2;

class NodeOptionsTest : public ImageFolderTest {
 protected:
  std::unique_ptr<BlockDevice> open(const std::string& json, ImageOptions options = {}) {
    return loop_.run(open_image("json:" + json, std::move(options)));
  }
  // Whether a request on the first half of a file without holes frees the space of that half.
  bool frees(const std::string& json, bool ignores,
             const std::function<Task<void>(BlockDevice&)>& request) {
    folder_.make("f", pattern(0, kSize, 1));
    ImageOptions options;
    options.writable = true;
    options.policy.discard = ignores ? DiscardPolicy::kIgnore : DiscardPolicy::kUnmap;
    const auto device = open(json, options);
    loop_.run(request(*device));
    const uint64_t space = leaf_of(*device).allocated_size().value();
    loop_.run(device->close());
    return space <= kSize - kHalf + 65536;
  }
  bool discards(const std::string& json, bool ignores = false) {
    return frees(json, ignores, [](BlockDevice& device) { return device.discard(0, kHalf); });
  }
  bool detects_zeroes(const std::string& json) {
    static const std::vector<uint8_t> zeroes(kHalf);
    return frees(json, false,
                 [](BlockDevice& device) { return device.write(0, ConstBytes(zeroes)); });
  }
  const storage::FileOptions& options_of_file(BlockDevice& device) {
    return dynamic_cast<storage::FileDevice&>(leaf_of(device).itself()).options();
  }

  Loop loop_;
};

TEST_F(NodeOptionsTest, EachNodeObeysItsOwnDiscard) {
  const std::string file = R"({"driver":"file","filename":"f")";
  EXPECT_TRUE(discards(file + "}"));
  EXPECT_FALSE(discards(file + "}", true));
  EXPECT_FALSE(discards(file + R"(,"discard":"ignore"})"));
  EXPECT_TRUE(discards(file + R"(,"discard":"unmap"})", true));
  const std::string raw = R"({"driver":"raw","file":)" + file;
  EXPECT_TRUE(discards(raw + "}}"));
  EXPECT_FALSE(discards(raw + R"(,"discard":"ignore"}})"));
  EXPECT_TRUE(discards(raw + R"(},"discard":"unmap"})", true));
  const std::string blkdebug = R"({"driver":"blkdebug","image":)" + file;
  EXPECT_TRUE(discards(blkdebug + "}}"));
  EXPECT_FALSE(discards(blkdebug + R"(},"discard":"ignore"})"));
  EXPECT_FALSE(discards(blkdebug + R"(,"discard":"ignore"}})"));
  const std::string copy = R"({"driver":"copy-on-read","file":)" + raw;
  EXPECT_TRUE(discards(copy + "}}}"));
  EXPECT_FALSE(discards(copy + R"(}},"discard":"ignore"})"));
  EXPECT_FALSE(discards(copy + R"(},"discard":"ignore"}})"));
  EXPECT_FALSE(discards(copy + R"(,"discard":"ignore"}}})"));
}

// Otherwise detect-zeroes=unmap would be refused.
TEST_F(NodeOptionsTest, NodesBelowDiscardWhateverTheOneAboveDoes) {
  const std::string below = R"({"driver":"file","filename":"f","detect-zeroes":"unmap"})";
  EXPECT_FALSE(discards(R"({"driver":"blkdebug","image":)" + below + "}", true));
  EXPECT_FALSE(discards(R"({"driver":"raw","discard":"ignore","file":)" + below + "}"));
  put_overlay("over", "f", "raw");
  folder_.make("f", pattern(0, kSize, 1));
  const auto device = open(
      R"({"driver":"qcow2","discard":"ignore","file.filename":"over","backing.detect-zeroes":"unmap"})");
  loop_.run(device->close());
}

TEST_F(NodeOptionsTest, EachNodeObeysItsOwnDetectZeroes) {
  const std::string file = R"({"driver":"file","filename":"f")";
  const std::string detect = R"(,"detect-zeroes":"unmap")";
  EXPECT_FALSE(detects_zeroes(file + "}"));
  EXPECT_TRUE(detects_zeroes(file + detect + "}"));
  EXPECT_FALSE(detects_zeroes(file + R"(,"detect-zeroes":"on"})"));
  const std::string raw = R"({"driver":"raw","file":)" + file;
  EXPECT_FALSE(detects_zeroes(raw + "}}"));
  EXPECT_TRUE(detects_zeroes(raw + detect + "}}"));
  EXPECT_TRUE(detects_zeroes(raw + "}" + detect + "}"));
  const std::string blkdebug = R"({"driver":"blkdebug","image":)" + file;
  EXPECT_FALSE(detects_zeroes(blkdebug + "}}"));
  EXPECT_TRUE(detects_zeroes(blkdebug + detect + "}}"));
  EXPECT_TRUE(detects_zeroes(blkdebug + "}" + detect + "}"));
  const std::string copy = R"({"driver":"copy-on-read","file":)" + raw;
  EXPECT_FALSE(detects_zeroes(copy + "}}}"));
  EXPECT_TRUE(detects_zeroes(copy + "}}" + detect + "}"));
}

TEST_F(NodeOptionsTest, AFileIsOpenedAsTheFormatOnItUnlessItSaysOtherwise) {
  folder_.make("f", pattern(0, kSize, 1));
  const auto cache_of = [&](const std::string& json) {
    const auto device = open(json);
    const storage::CacheMode mode = options_of_file(*device).cache;
    loop_.run(device->close());
    return mode;
  };
  const std::string file = R"("file":{"driver":"file","filename":"f")";
  EXPECT_EQ(cache_of(R"({"driver":"raw",)" + file + "}}"), storage::CacheMode::kWriteback);
  EXPECT_EQ(cache_of(R"({"driver":"raw","cache.no-flush":true,)" + file + "}}"),
            storage::CacheMode::kUnsafe);
  EXPECT_EQ(
      cache_of(R"({"driver":"raw","cache.no-flush":true,)" + file + R"(,"cache.no-flush":false}})"),
      storage::CacheMode::kWriteback);
  EXPECT_EQ(cache_of(R"({"driver":"raw","cache.direct":true,)" + file + "}}"),
            storage::CacheMode::kNone);
  const auto shared = open(R"({"driver":"raw","force-share":true,)" + file + "}}");
  EXPECT_TRUE(options_of_file(*shared).force_share);
  loop_.run(shared->close());
}

TEST_F(NodeOptionsTest, ABackingFileIsOpenedAsTheImageOnIt) {
  folder_.make("base", pattern(0, kSize, 1));
  put_overlay("over", "base", "raw");
  const auto device =
      open(R"({"driver":"qcow2","cache.no-flush":true,"force-share":true,"file.filename":"over"})");
  BlockDevice& backing = *as_qcow2(device.get())->backing();
  EXPECT_EQ(options_of_file(backing).cache, storage::CacheMode::kUnsafe);
  EXPECT_TRUE(options_of_file(backing).force_share);
  loop_.run(device->close());
}

// A device that is neither a file nor a filter, and does not report the device below it.
class Forgetful final : public filter::FilterDevice {
 public:
  explicit Forgetful(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {}
  const char* driver() const override { return "forgetful"; }
  std::vector<ChildDevice> children() const override { return {}; }
};
class Plain final : public filter::FilterDevice {
 public:
  explicit Plain(std::unique_ptr<BlockDevice> below) : FilterDevice(std::move(below)) {}
  const char* driver() const override { return "plain"; }
};

TEST_F(NodeOptionsTest, NoDeviceIsLeftUnlocked) {
  folder_.make("f", pattern(0, kSize, 1));
  auto file = loop_.run(storage::FileDevice::open("f", {.lock = kLockNothing}));
  storage::FileDevice& below = *file;
  Plain plain(std::move(file));
  lock_file_below(plain, kLockRead);
  EXPECT_EQ(below.lock(), kLockRead);
  // When two nodes share one file, neither releases the other's locks.
  lock_file_below(plain, kLockReadRaw);
  EXPECT_EQ(below.lock(), kLockRead);
  loop_.run(plain.close());
  Forgetful forgetful(std::make_unique<storage::MemoryDevice>(kSize));
  EXPECT_THROW(lock_file_below(forgetful, kLockRead), Error);
  storage::NullDevice null({});
  lock_file_below(null, kLockRead);
}

}  // namespace
}  // namespace byre::open
