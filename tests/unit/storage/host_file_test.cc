// SPDX-License-Identifier: Apache-2.0
#include "storage/host_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <latch>
#include <vector>

#include "async/loop.h"
#include "async/when_all.h"
#include "async/worker_pool.h"
#include "base/units.h"
#include "unit/support/file_size_limit.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

// Like a container's filter: from now on io_uring_setup returns EPERM in this process.
bool forbid_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

Task<bool> reads_back(HostFile* file) {
  const Contents bytes = pattern(0, 100000, 1);
  Contents back(bytes.size());
  const WriteBuffers from{ConstBytes(bytes)};
  const ReadBuffers to{Bytes(back)};
  const int write_error = co_await file->write(0, from, true);
  co_await file->start_sync();
  size_t done = 0;
  const int read_error = co_await file->read(0, to, &done);
  const int sync_error = co_await file->sync_data();
  co_return write_error == 0 && read_error == 0 && sync_error == 0 && done == bytes.size() &&
      back == bytes;
}

// Exit code 0: everything worked without a ring; 2: the filter could not be installed.
[[noreturn]] void work_without_io_uring(const std::string& name) {
  if (!forbid_io_uring()) std::_Exit(2);
  Loop loop;
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {.inline_io = false});
  const bool ok = loop.run(reads_back(&file));
  std::_Exit(ok && Ring::refusal() == EPERM && loop.event_source() == nullptr ? 0 : 1);
}

TEST(HostFileDeathTest, WorkersDoTheWorkWhereIoUringIsForbidden) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  EXPECT_EXIT(work_without_io_uring(name), testing::ExitedWithCode(0), "");
}

Task<void> write_and_sync(HostFile* file) {
  const Contents bytes = pattern(0, 1000, 1);
  const WriteBuffers from{ConstBytes(bytes)};
  const int write_error = co_await file->write(0, from, false);
  const int sync_error = co_await file->sync_data();
  EXPECT_EQ(write_error, 0);
  EXPECT_EQ(sync_error, 0);
}

Task<void> rest(Loop* loop) {
  co_await loop->sleep_for(std::chrono::milliseconds(1));
}

TEST(HostFile, ASyncThatHoldsUpNobodyNeedsNoRing) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  Loop loop;
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  loop.run(write_and_sync(&file));
  EXPECT_EQ(loop.event_source(), nullptr);
}

TEST(HostFile, ASyncBesideOtherWorkIsLeftToTheRing) {
  if (Ring::refusal() != 0) GTEST_SKIP() << "the host refuses io_uring";
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  Loop loop;
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  std::vector<Task<void>> both;
  both.push_back(write_and_sync(&file));
  both.push_back(rest(&loop));
  loop.run(when_all(std::move(both)));
  EXPECT_NE(loop.event_source(), nullptr);
}

struct Seen {
  bool next_has_begun = false;
  bool next_began_during_write = false;
};

Task<void> write_and_look(HostFile* file, size_t size, Seen* seen, std::latch* written) {
  const Contents bytes = pattern(0, size, 1);
  const WriteBuffers from{ConstBytes(bytes)};
  const int error = co_await file->write(0, from, false);
  EXPECT_EQ(error, 0);
  seen->next_began_during_write = seen->next_has_begun;
  written->count_down();
}

Task<void> begin(Seen* seen) {
  seen->next_has_begun = true;
  co_return;
}

Task<void> keep_a_worker_until(std::latch* written) {
  co_await WorkerPool::shared().run([written] { written->wait(); });
}

bool loop_goes_on_during_write(HostFile* file, size_t size, bool beside_a_worker) {
  Seen seen;
  std::latch written(1);
  std::vector<Task<void>> all;
  if (beside_a_worker) all.push_back(keep_a_worker_until(&written));
  all.push_back(write_and_look(file, size, &seen, &written));
  all.push_back(begin(&seen));
  Loop loop;
  loop.run(when_all(std::move(all)));
  return seen.next_began_during_write;
}

TEST(HostFile, WorkersDoLargeWritesAndSmallerOnesWhereTheyAreAtWorkAlready) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  EXPECT_FALSE(loop_goes_on_during_write(&file, 512 * kKiB, false));
  EXPECT_TRUE(loop_goes_on_during_write(&file, 1 * kMiB, false));
  EXPECT_FALSE(loop_goes_on_during_write(&file, 64 * kKiB, true));
  EXPECT_TRUE(loop_goes_on_during_write(&file, 512 * kKiB, true));
}

// Both are written by a worker, with one system call per small piece.
TEST(HostFile, ALargeWriteOfManySegmentsArrivesWhole) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  const Contents bytes = pattern(0, 3 * kMiB + 12345, 1);
  WriteBuffers from;
  for (const size_t end : {7ul, 40000ul, 40001ul, 1500000ul, bytes.size()}) {
    from.append(const_cast<uint8_t*>(bytes.data()) + from.size(), end - from.size());
  }
  Contents back(bytes.size());
  size_t done = 0;
  Loop loop;
  EXPECT_EQ(loop.run(file.write(321, from, false)), 0);
  EXPECT_EQ(loop.run(file.read(321, ReadBuffers{Bytes(back)}, &done)), 0);
  EXPECT_EQ(done, bytes.size());
  EXPECT_EQ(back, bytes);
}

TEST(HostFile, ALargeWriteThatEndsInTheMiddleGivesTheError) {
  test::TemporaryFolder folder;
  const std::string name = folder.make("file", {});
  HostFile file(::open(name.c_str(), O_RDWR | O_CLOEXEC), {});
  const Contents bytes = pattern(0, 2 * kMiB, 1);
  constexpr size_t kLimit = kMiB + 1000;
  Contents back(bytes.size());
  size_t done = 0;
  Loop loop;
  int error = 0;
  {
    const test::FileSizeLimit limit(kLimit);
    error = loop.run(file.write(0, WriteBuffers{ConstBytes(bytes)}, false));
  }
  EXPECT_EQ(error, EFBIG);
  EXPECT_EQ(loop.run(file.read(0, ReadBuffers{Bytes(back)}, &done)), 0);
  EXPECT_EQ(done, kLimit);
  EXPECT_TRUE(std::equal(back.begin(), back.begin() + kLimit, bytes.begin()));
}

TEST(HostFile, ErrorsAreTheHostsNumbers) {
  Loop loop;
  HostFile file(::open("/dev/null", O_RDONLY | O_CLOEXEC), {});
  Contents bytes(10);
  const ReadBuffers memory{Bytes(bytes)};
  EXPECT_EQ(loop.run(file.write(0, memory, false)), EBADF);
  EXPECT_EQ(loop.run(file.allocate(0, 0, 10)), EBADF);
  size_t done = 7;
  EXPECT_EQ(loop.run(file.read(0, memory, &done)), 0);
  EXPECT_EQ(done, 0u);
  EXPECT_EQ(file.close(), 0);
  EXPECT_EQ(file.close(), 0);
  EXPECT_EQ(loop.run(file.read(0, memory, &done)), EBADF);
}

}  // namespace
}  // namespace byre::storage
