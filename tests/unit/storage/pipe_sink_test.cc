// SPDX-License-Identifier: Apache-2.0
#include "storage/pipe_sink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <thread>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "unit/support/pattern.h"

namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

// A pipe whose other end collects everything on a thread.
class Collector {
 public:
  Collector() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    in_ = ends[1];
    thread_ = std::thread([this, out = ends[0]] {
      uint8_t space[10000];
      for (ssize_t length; (length = ::read(out, space, sizeof space)) > 0;) {
        collected_.insert(collected_.end(), space, space + length);
      }
      ::close(out);
    });
  }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;
  ~Collector() {
    if (thread_.joinable()) result();
  }
  int in() const { return in_; }
  const Contents& result() {
    ::close(in_);
    thread_.join();
    return collected_;
  }

 private:
  int in_;
  Contents collected_;
  std::thread thread_;
};

Task<void> write_all(PipeSink* sink, const Contents* bytes, size_t piece) {
  std::vector<Task<void>> writes;
  for (size_t offset = 0; offset < bytes->size(); offset += piece) {
    const size_t length = std::min(piece, bytes->size() - offset);
    const WriteBuffers from{ConstBytes(bytes->data() + offset, length)};
    writes.push_back(sink->write(offset, from));
  }
  co_await when_all(std::move(writes));
}

TEST(PipeSink, WritesThatAreAskedForInOrderComeOutInOrder) {
  Loop loop;
  Collector collector;
  const Contents bytes = pattern(0, 1234567, 1);
  PipeSink sink(collector.in(), bytes.size(), "-");
  loop.run(write_all(&sink, &bytes, 10001));
  loop.run(sink.close());
  EXPECT_EQ(collector.result(), bytes);
}

TEST(PipeSink, WhatIsLeftOutBecomesZeroes) {
  Loop loop;
  Collector collector;
  PipeSink sink(collector.in(), 3000000, "-");
  const Contents bytes = pattern(0, 1000, 1);
  loop.run(sink.write(500, ConstBytes(bytes)));
  loop.run(sink.write_zeroes(2000, 1500000, WriteFlags::kMayUnmap));
  loop.run(sink.write(2000000, ConstBytes(bytes)));
  loop.run(sink.close());
  Contents model(3000000);
  std::copy(bytes.begin(), bytes.end(), model.begin() + 500);
  std::copy(bytes.begin(), bytes.end(), model.begin() + 2000000);
  EXPECT_EQ(collector.result(), model);
}

template <class F>
ErrorKind kind_of_error(F call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::kIo;
}

TEST(PipeSink, NothingGoesBackAndNothingIsRead) {
  Loop loop;
  Collector collector;
  PipeSink sink(collector.in(), 10000, "-");
  Contents bytes(1000);
  const ReadBuffers memory{Bytes(bytes)};
  loop.run(sink.write(1000, memory));
  EXPECT_EQ(kind_of_error([&] { loop.run(sink.write(1999, memory)); }), ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of_error([&] { loop.run(sink.write_zeroes(0, 1, WriteFlags::kNone)); }),
            ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of_error([&] { loop.run(sink.read(0, memory)); }), ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of_error([&] { loop.run(sink.resize(1999, Preallocation::kOff)); }),
            ErrorKind::kUnsupported);
  EXPECT_EQ(kind_of_error([&] { loop.run(sink.write(9001, memory)); }),
            ErrorKind::kInvalidArgument);
}

TEST(PipeSink, AReaderThatGoesAwayIsAnErrorAndNoSignal) {
  Loop loop;
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  ::close(ends[0]);
  PipeSink sink(ends[1], 10000, "-");
  const Contents bytes(1000);
  for (int i = 0; i < 2; ++i) {
    try {
      loop.run(sink.write(static_cast<uint64_t>(i) * 1000, ConstBytes(bytes)));
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.errno_value(), EPIPE);
    }
  }
  ::close(ends[1]);
}

TEST(PipeSink, AFullPipeThatDoesNotWaitIsWaitedFor) {
  Loop loop;
  Collector collector;
  ASSERT_EQ(fcntl(collector.in(), F_SETFL, O_NONBLOCK), 0);
  const Contents bytes = pattern(0, 500000, 1);
  PipeSink sink(collector.in(), bytes.size(), "-");
  loop.run(sink.write(0, ConstBytes(bytes)));
  loop.run(sink.close());
  EXPECT_EQ(collector.result(), bytes);
}

}  // namespace
}  // namespace byre::storage
