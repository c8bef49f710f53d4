// SPDX-License-Identifier: Apache-2.0
#include "block/block_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <utility>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"

namespace byre {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Keeps a record of what a device gets to see, which a request can be made to wait in.
class Recorder final : public BlockDevice {
 public:
  explicit Recorder(uint64_t size) : size_(size) {}

  const std::string& filename() const override { return name_; }
  const char* driver() const override { return "recorder"; }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return read_only_; }
  void refresh_size() override {
    if (grown_size_ > size_) size_ = grown_size_;
  }

  // "name offset+length", and the flags.
  std::vector<std::string> take() { return std::exchange(requests_, {}); }

  std::string name_ = "recorder";
  uint64_t size_;
  uint64_t grown_size_ = 0;
  Limits limits_;
  bool read_only_ = false;
  bool is_refusing_ = false;  // throws at the call, as a method that is no coroutine may
  bool is_copying_ = true;
  int turns_ = 0;  // how long a request takes

 private:
  Task<void> note(std::string what, uint64_t offset, uint64_t length,
                  WriteFlags flags = WriteFlags::kNone) {
    what += " " + std::to_string(offset) + "+" + std::to_string(length);
    if (has_flag(flags, WriteFlags::kFua)) what += " fua";
    if (has_flag(flags, WriteFlags::kMayUnmap)) what += " unmap";
    if (has_flag(flags, WriteFlags::kCompressed)) what += " compressed";
    requests_.push_back("begin " + what);
    for (int i = 0; i < turns_; ++i) co_await Loop::current().yield();
    requests_.back() = what;
  }
  Task<void> do_read(uint64_t offset, ReadBuffers to) override {
    if (is_refusing_) throw Error::from_errno(EIO, "refused");
    return note("read", offset, to.size());
  }
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override {
    return note("write", offset, from.size(), flags);
  }
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override {
    return note("zeroes", offset, length, flags);
  }
  Task<void> do_discard(uint64_t offset, uint64_t length) override {
    return note("discard", offset, length);
  }
  Task<void> do_flush() override { return note("flush", 0, 0); }
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length, ExtentScope) override {
    co_await note("extents", offset, length);
    co_return std::vector<Extent>{{.offset = offset, .length = length}};
  }
  Task<void> do_resize(uint64_t new_size, Preallocation) override {
    return note("resize", 0, new_size);
  }
  Task<bool> do_copy_from(HostRange, uint64_t offset, uint64_t length) override {
    co_await note("copy", offset, length);
    co_return is_copying_;
  }
  Task<void> do_close() override { return note("close", 0, 0); }

  std::vector<std::string> requests_;
};

using Contents = std::vector<uint8_t>;

// The kind of the error that a request is refused with; nothing: it was accepted.
template <class Make>
std::optional<ErrorKind> refusal(Make make) {
  auto task = make();  // does not throw
  try {
    sync_wait(std::move(task));
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

std::optional<ErrorKind> reading(Recorder& device, uint64_t offset, uint64_t length) {
  static uint8_t memory;
  return refusal([&] { return device.read(offset, ReadBuffers(&memory, length)); });
}

std::optional<ErrorKind> zeroing(Recorder& device, uint64_t offset, uint64_t length) {
  return refusal([&] { return device.write_zeroes(offset, length, WriteFlags::kNone); });
}

constexpr std::optional<ErrorKind> kAccepted;

TEST(BlockDevice, RangesLieInsideIt) {
  Recorder device(100);
  EXPECT_EQ(reading(device, 0, 100), kAccepted);
  EXPECT_EQ(reading(device, 100, 0), kAccepted);
  EXPECT_EQ(reading(device, 100, 1), ErrorKind::kInvalidArgument);
  EXPECT_EQ(reading(device, 101, 0), ErrorKind::kInvalidArgument);
  EXPECT_EQ(reading(device, 1, SIZE_MAX), ErrorKind::kInvalidArgument);
  EXPECT_EQ(zeroing(device, 99, 1), kAccepted);
  EXPECT_EQ(zeroing(device, 99, 2), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { return device.extents(99, 2, ExtentScope::kLayer); }),
            ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { return device.discard(99, 2); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { return device.reserve_space(99, 2); }), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { return device.copy_from({}, 99, 2); }), ErrorKind::kInvalidArgument);
}

TEST(BlockDevice, WritesMayPassTheEndOfOneThatGrowsAndReadsMayNot) {
  Recorder device(100);
  device.limits_.grows = true;
  EXPECT_EQ(reading(device, 99, 2), ErrorKind::kInvalidArgument);
  EXPECT_EQ(zeroing(device, 99, 2), kAccepted);
  EXPECT_EQ(zeroing(device, 1 << 30, 5), kAccepted);
  EXPECT_EQ(zeroing(device, BlockDevice::kSizeMax - 1, 1), kAccepted);
  EXPECT_EQ(zeroing(device, BlockDevice::kSizeMax, 1), ErrorKind::kInvalidArgument);
  EXPECT_EQ(zeroing(device, 5, UINT64_MAX), ErrorKind::kInvalidArgument);
  EXPECT_EQ(refusal([&] { return device.discard(99, 2); }), ErrorKind::kInvalidArgument);
}

TEST(BlockDevice, AReadOnlyOneIsNotChanged) {
  Recorder device(100);
  device.limits_.grows = true;
  device.read_only_ = true;
  const Contents bytes(1);
  EXPECT_EQ(reading(device, 0, 1), kAccepted);
  device.take();
  for (const auto& kind : {refusal([&] { return device.write(0, ConstBytes(bytes)); }),
                           zeroing(device, 0, 1), refusal([&] { return device.discard(0, 1); }),
                           refusal([&] { return device.reserve_space(0, 1); }),
                           refusal([&] { return device.resize(5, Preallocation::kOff); }),
                           refusal([&] { return device.copy_from({}, 0, 1); })}) {
    EXPECT_EQ(kind, ErrorKind::kPermission);
  }
  EXPECT_THAT(device.take(), IsEmpty());
}

TEST(BlockDevice, ANewSizeLeavesRoomForAlignment) {
  Recorder device(100);
  EXPECT_EQ(refusal([&] { return device.resize((1ull << 63) - 512, Preallocation::kOff); }),
            ErrorKind::kInvalidArgument);
  EXPECT_THAT(device.take(), IsEmpty());
  EXPECT_EQ(refusal([&] { return device.resize((1ull << 63) - (1 << 30), Preallocation::kOff); }),
            kAccepted);
}

TEST(BlockDevice, ARangePastTheEndIsAcceptedIfTheFileHasGrown) {
  Recorder device(100);
  device.grown_size_ = 200;
  EXPECT_EQ(reading(device, 150, 50), kAccepted);
  EXPECT_EQ(reading(device, 150, 51), ErrorKind::kInvalidArgument);
}

TEST(BlockDevice, WhatADeviceThrowsAtTheCallIsThrownAtTheAwait) {
  Recorder device(100);
  device.is_refusing_ = true;
  EXPECT_EQ(reading(device, 0, 1), ErrorKind::kIo);
}

TEST(BlockDevice, NothingIsAcceptedAfterClose) {
  Recorder device(100);
  const Contents bytes(1);
  sync_wait(device.close());
  EXPECT_THAT(device.take(), ElementsAre("close 0+0"));
  sync_wait(device.close());
  for (const auto& kind :
       {reading(device, 0, 1), zeroing(device, 0, 1),
        refusal([&] { return device.write(0, ConstBytes(bytes)); }),
        refusal([&] { return device.discard(0, 1); }),
        refusal([&] { return device.reserve_space(0, 1); }),
        refusal([&] { return device.flush(); }), refusal([&] { return device.start_flush(); }),
        refusal([&] { return device.extents(0, 1, ExtentScope::kLayer); }),
        refusal([&] { return device.copy_from({}, 0, 1); }),
        refusal([&] { return device.resize(5, Preallocation::kOff); })}) {
    EXPECT_EQ(kind, ErrorKind::kInvalidArgument);
  }
  EXPECT_THAT(device.take(), IsEmpty());
}

TEST(BlockDevice, CloseWaitsForRequestsInFlight) {
  Recorder device(100);
  device.turns_ = 5;
  std::vector<Task<void>> tasks;
  tasks.push_back(device.flush());
  tasks.push_back(device.close());
  sync_wait(when_all(std::move(tasks)));
  EXPECT_THAT(device.take(), ElementsAre("flush 0+0", "close 0+0"));
}

TEST(BlockDevice, ARequestThatIsNeverAwaitedKeepsNobodyWaiting) {
  Recorder device(100);
  {
    const Task<void> dropped = device.flush();
  }
  sync_wait(device.close());
  EXPECT_THAT(device.take(), ElementsAre("close 0+0"));
}

TEST(BlockDevice, AFinishedTaskThatIsKeptIsNotInFlight) {
  Recorder device(100);
  const auto closing = [](Recorder* closed) -> Task<void> {
    Task<void> flush = closed->flush();
    co_await std::move(flush);
    co_await closed->close();
  };
  sync_wait(closing(&device));
  EXPECT_THAT(device.take(), ElementsAre("flush 0+0", "close 0+0"));
}

TEST(BlockDevice, ATransferIsSplitAtTheLargestAndAtWholeBlocks) {
  Recorder device(65536);
  device.limits_.request_alignment = 512;
  device.limits_.transfer_max = 4500;
  Contents bytes(12000, 1);
  sync_wait(device.read(300, Bytes(bytes)));
  EXPECT_THAT(device.take(),
              ElementsAre("read 300+3796", "read 4096+4096", "read 8192+4096", "read 12288+12"));
  sync_wait(device.write(512, Bytes(bytes).first(8192), WriteFlags::kFua));
  EXPECT_THAT(device.take(), ElementsAre("write 512+4096 fua", "write 4608+4096 fua"));
  sync_wait(device.read(100, Bytes(bytes).first(3996)));
  EXPECT_THAT(device.take(), ElementsAre("read 100+3996"));
}

TEST(BlockDevice, ACompressedWriteIsNotSplit) {
  Recorder device(65536);
  device.limits_.transfer_max = 4096;
  const Contents bytes(16384, 3);
  sync_wait(device.write(0, ConstBytes(bytes), WriteFlags::kCompressed));
  EXPECT_THAT(device.take(), ElementsAre("write 0+16384 compressed"));
}

TEST(BlockDevice, DiscardsThatAreIgnoredLeaveBytesAndSpace) {
  Recorder device(65536);
  device.set_policy({.discard = DiscardPolicy::kIgnore});
  sync_wait(device.discard(0, 65536));
  EXPECT_THAT(device.take(), IsEmpty());
  sync_wait(device.write_zeroes(0, 4096, WriteFlags::kMayUnmap | WriteFlags::kFua));
  EXPECT_THAT(device.take(), ElementsAre("zeroes 0+4096 fua"));
  EXPECT_EQ(refusal([&] { return device.discard(65536, 1); }), ErrorKind::kInvalidArgument);
}

TEST(BlockDevice, ZeroesAreDetected) {
  Recorder device(65536);
  const Contents zeroes(4096);
  device.set_policy({.detect_zeroes = DetectZeroes::kOn});
  sync_wait(device.write(0, ConstBytes(zeroes), WriteFlags::kFua | WriteFlags::kCompressed));
  EXPECT_THAT(device.take(), ElementsAre("zeroes 0+4096 fua"));
  device.set_policy({.detect_zeroes = DetectZeroes::kUnmap});
  sync_wait(device.write(0, ConstBytes(zeroes)));
  EXPECT_THAT(device.take(), ElementsAre("zeroes 0+4096 unmap"));
  sync_wait(device.write(0, ConstBytes(Contents(4096, 2))));
  EXPECT_THAT(device.take(), ElementsAre("write 0+4096"));
}

TEST(BlockDevice, ADiscardCanBeDurable) {
  Recorder device(65536);
  sync_wait(device.discard(0, 512, WriteFlags::kFua));
  EXPECT_THAT(device.take(), ElementsAre("discard 0+512", "flush 0+0"));
}

TEST(WriteThrough, EveryChangeIsDurableBeforeItIsDone) {
  Recorder device(65536);
  device.set_writes_through(true);
  sync_wait(device.write(0, ConstBytes(Contents(512, 1))));
  sync_wait(device.write_zeroes(0, 512, WriteFlags::kMayUnmap));
  EXPECT_THAT(device.take(), ElementsAre("write 0+512 fua", "zeroes 0+512 fua unmap"));
  sync_wait(device.discard(0, 512));
  EXPECT_THAT(device.take(), ElementsAre("discard 0+512", "flush 0+0"));
  sync_wait(device.resize(8192, Preallocation::kOff));
  EXPECT_THAT(device.take(), ElementsAre("resize 0+8192", "flush 0+0"));
  EXPECT_TRUE(sync_wait(device.copy_from({}, 0, 512)));
  EXPECT_THAT(device.take(), ElementsAre("copy 0+512", "flush 0+0"));
  device.is_copying_ = false;
  EXPECT_FALSE(sync_wait(device.copy_from({}, 0, 512)));
  EXPECT_THAT(device.take(), ElementsAre("copy 0+512"));
}

TEST(WriteThrough, DetectedZeroesAreDurableToo) {
  Recorder device(65536);
  device.set_writes_through(true);
  device.set_policy({.detect_zeroes = DetectZeroes::kOn});
  sync_wait(device.write(0, ConstBytes(Contents(512))));
  EXPECT_THAT(device.take(), ElementsAre("zeroes 0+512 fua"));
}

TEST(WriteThrough, ReadsPassAsTheyAre) {
  Recorder device(65536);
  device.set_writes_through(true);
  Contents bytes(512);
  sync_wait(device.read(0, Bytes(bytes)));
  EXPECT_THAT(device.take(), ElementsAre("read 0+512"));
}

}  // namespace
}  // namespace byre
