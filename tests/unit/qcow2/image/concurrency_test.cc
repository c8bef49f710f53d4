// SPDX-License-Identifier: Apache-2.0
#include <coroutine>

#include "async/when_all.h"
#include "qcow2/image/image_parts.h"
#include "unit/qcow2/writing_test.h"

namespace byre::qcow2::test {
namespace {

constexpr uint64_t kCluster = 65536;

// Forwards everything, but blocks requests that touch a range until the gate opens.
class Gate final : public BlockDevice {
 public:
  explicit Gate(std::unique_ptr<BlockDevice> below) : below_(std::move(below)) {}

  void shut(uint64_t offset, uint64_t length) {
    begin_ = offset;
    end_ = offset + length;
  }
  void open() {
    begin_ = end_ = 0;
    Loop::current().schedule_all(&waiting_);
  }
  size_t held_up() const { return waiting_.size(); }

  const std::string& filename() const override { return below_->filename(); }
  const char* driver() const override { return below_->driver(); }
  uint64_t size() const override { return below_->size(); }
  const Limits& limits() const override { return below_->limits(); }
  bool is_read_only() const override { return below_->is_read_only(); }
  Task<void> do_read(uint64_t offset, ReadBuffers to) override {
    co_await pass(offset, to.size());
    co_await below_->read(offset, to);
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    co_await pass(offset, from.size());
    co_await below_->write(offset, from, flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return below_->write_zeroes(offset, length, flags);
  }
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    return below_->discard(offset, length);
  }
  Task<void> do_flush() override { return below_->flush(); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override {
    return below_->extents(offset, length, scope);
  }
  Task<void> do_resize(uint64_t size, Preallocation preallocation) override {
    return below_->resize(size, preallocation);
  }
  Task<void> do_close() override { return below_->close(); }

 private:
  struct Pass {
    Gate* gate;
    bool held;
    Waiter waiter = {};
    bool await_ready() const { return !held; }
    void await_suspend(std::coroutine_handle<> self) { gate->waiting_.push_back(&waiter, self); }
    void await_resume() const {}
  };
  Pass pass(uint64_t offset, uint64_t length) {
    return {this, offset < end_ && begin_ < offset + length};
  }

  std::unique_ptr<BlockDevice> below_;
  uint64_t begin_ = 0;
  uint64_t end_ = 0;
  WaiterList waiting_;
};

// An image with 8 clusters of data, whose file blocks requests that touch the first of them.
class Concurrency : public testing::Test {
 protected:
  void SetUp() override {
    Disks disks = make_disks(layout_of(kMiB, kCluster));
    auto gate = std::make_unique<Gate>(std::move(disks.file));
    gate_ = gate.get();
    image_ = loop_.run(Image::open(std::move(gate), for_writing()));
    const std::vector<uint8_t> bytes = pattern(0, 8 * kCluster, 1);
    loop_.run(image_->write(0, ConstBytes(bytes)));
    loop_.run(image_->flush());
    const auto extents = loop_.run(image_->extents(0, kCluster, ExtentScope::kLayer));
    first_cluster_ = *extents[0].host_offset;
  }
  void TearDown() override { loop_.run(image_->close()); }

  // Runs `blocked`, which waits at the gate, and `others`, which must all finish before it opens.
  Task<void> pass_by(Task<void> blocked, std::vector<Task<void>> others) {
    std::vector<Task<void>> all;
    all.push_back(note_end(std::move(blocked), &blocked_done_));
    all.push_back(watch(std::move(others)));
    co_await when_all(std::move(all));
  }

  Loop loop_;
  Gate* gate_ = nullptr;
  std::unique_ptr<Image> image_;
  uint64_t first_cluster_ = 0;
  bool blocked_done_ = false;

 private:
  static Task<void> note_end(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
  }
  Task<void> watch(std::vector<Task<void>> others) {
    co_await when_all(std::move(others));
    EXPECT_EQ(gate_->held_up(), 1u);
    EXPECT_FALSE(blocked_done_);
    gate_->open();
  }
};

TEST_F(Concurrency, ABlockedWriteDelaysNeitherReadsNorWritesOfOtherClusters) {
  const std::vector<uint8_t> bytes = pattern(0, kCluster, 2);
  std::vector<uint8_t> read(3 * kCluster);
  gate_->shut(first_cluster_, kCluster);
  std::vector<Task<void>> others;
  others.push_back(image_->write(kCluster, ConstBytes(bytes)));       // in place
  others.push_back(image_->write(10 * kCluster, ConstBytes(bytes)));  // allocates
  others.push_back(image_->write(9 * kCluster + 100, ConstBytes(bytes).first(100)));
  others.push_back(image_->write_zeroes(4 * kCluster, kCluster, WriteFlags::kMayUnmap));
  others.push_back(image_->discard(3 * kCluster, kCluster));
  others.push_back(image_->read(5 * kCluster, Bytes(read)));
  others.push_back(image_->flush());
  loop_.run(pass_by(image_->write(512, ConstBytes(bytes).first(4096)), std::move(others)));
  EXPECT_TRUE(blocked_done_);
  EXPECT_EQ(read, pattern(5 * kCluster, 3 * kCluster, 1));
}

TEST_F(Concurrency, ABlockedAllocatingWriteDelaysNoOtherAllocatingWrite) {
  const std::vector<uint8_t> bytes = pattern(0, kCluster, 2);
  // Where the next cluster will be allocated.
  const uint64_t next = gate_->size();
  gate_->shut(next, kCluster);
  std::vector<Task<void>> others;
  for (uint64_t i = 10; i < 15; ++i) {
    others.push_back(image_->write(i * kCluster, ConstBytes(bytes)));
  }
  others.push_back(image_->flush());
  loop_.run(pass_by(image_->write(9 * kCluster, ConstBytes(bytes)), std::move(others)));
  const std::vector<uint8_t> now = loop_.run(read_all(image_.get()));
  for (uint64_t i = 9; i < 15; ++i) {
    EXPECT_TRUE(
        std::equal(bytes.begin(), bytes.end(), now.begin() + static_cast<ptrdiff_t>(i * kCluster)));
  }
}

TEST_F(Concurrency, AReadOfOneClusterDelaysNoWriteOfAnother) {
  const std::vector<uint8_t> bytes = pattern(0, kCluster, 2);
  std::vector<uint8_t> read(kCluster);
  gate_->shut(first_cluster_, kCluster);
  std::vector<Task<void>> others;
  others.push_back(image_->write(kCluster, ConstBytes(bytes)));
  others.push_back(image_->write(9 * kCluster, ConstBytes(bytes)));
  loop_.run(pass_by(image_->read(0, Bytes(read)), std::move(others)));
  EXPECT_EQ(read, pattern(0, kCluster, 1));
}

TEST_F(Concurrency, RequestsForOneClusterRunInTheOrderOfTheirArrival) {
  const std::vector<uint8_t> first = pattern(0, kCluster, 2);
  const std::vector<uint8_t> second = pattern(0, 4096, 3);
  std::vector<uint8_t> read(kCluster);
  std::vector<Task<void>> all;
  all.push_back(image_->write(9 * kCluster, ConstBytes(first)));
  all.push_back(image_->write(9 * kCluster + 4096, ConstBytes(second)));
  all.push_back(image_->write_zeroes(9 * kCluster, 4096, WriteFlags::kNone));
  all.push_back(image_->read(9 * kCluster, Bytes(read)));
  loop_.run(when_all(std::move(all)));
  std::vector<uint8_t> expected = first;
  std::fill_n(expected.begin(), 4096, uint8_t{0});
  std::ranges::copy(second, expected.begin() + 4096);
  EXPECT_EQ(read, expected);
}

}  // namespace
}  // namespace byre::qcow2::test
