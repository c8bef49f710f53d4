// SPDX-License-Identifier: Apache-2.0
#include "storage/spool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "async/loop.h"
#include "byre/error.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

struct Pipe {
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    out = ends[0];
    in = ends[1];
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    ::close(out);
    if (in >= 0) ::close(in);
  }
  // Writes everything and closes, in pieces of odd sizes.
  void feed(const Contents& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      const ssize_t length =
          ::write(in, bytes.data() + done, std::min<size_t>(bytes.size() - done, 77777));
      if (length < 0) break;
      done += static_cast<size_t>(length);
    }
    ::close(in);
    in = -1;
  }
  int out;
  int in;
};

class Spool : public testing::Test {
 protected:
  Spool() { setenv("TMPDIR", folder_.file("").c_str(), 1); }
  ~Spool() override { unsetenv("TMPDIR"); }
  Contents all_of(FileDevice& device) {
    Contents bytes(device.size(), 0xee);
    loop_.run(device.read(0, Bytes(bytes)));
    return bytes;
  }
  test::TemporaryFolder folder_;
  Loop loop_;
};

TEST_F(Spool, APipeCanBeReadInAnyOrder) {
  Contents bytes = pattern(0, 3333333, 1);
  std::fill(bytes.begin() + 1000000, bytes.begin() + 2500000, 0);
  Pipe pipe;
  std::thread feeder([&] { pipe.feed(bytes); });
  const auto device = loop_.run(spool(pipe.out, "-", nullptr));
  feeder.join();
  EXPECT_EQ(device->filename(), "-");
  EXPECT_EQ(all_of(*device), bytes);
  // The zeroes are a hole, and the file has no name.
  EXPECT_LT(*device->allocated_size(), 2500000u);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.file("")));
}

TEST_F(Spool, ZeroesAtTheEndCountAndAnEmptyPipeIsAnEmptyFile) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{500000}}) {
    Pipe pipe;
    std::thread feeder([&] { pipe.feed(Contents(size)); });
    const auto device = loop_.run(spool(pipe.out, "-", nullptr));
    feeder.join();
    EXPECT_EQ(all_of(*device), Contents(size));
  }
}

TEST_F(Spool, AFileThatNobodyHasReadFromIsUsedAsItIs) {
  const std::string name = folder_.make("file", pattern(0, 5000, 2));
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  auto device = loop_.run(spool(fd, "-", nullptr));
  const auto original = loop_.run(FileDevice::open(name, {}));
  EXPECT_EQ(device->identity(), original->identity());
  EXPECT_EQ(all_of(*device), pattern(0, 5000, 2));
  // Read from the middle on, it is a stream like any other.
  ASSERT_EQ(lseek(fd, 1000, SEEK_SET), 1000);
  device = loop_.run(spool(fd, "-", nullptr));
  EXPECT_NE(device->identity(), original->identity());
  EXPECT_EQ(all_of(*device), pattern(1000, 4000, 2));
  ::close(fd);
}

TEST_F(Spool, AWishToStopIsHeardWhileThePipeIsSilent) {
  Pipe pipe;
  Cancellation cancellation;
  cancellation.request();
  try {
    loop_.run(spool(pipe.out, "-", &cancellation));
    FAIL() << "not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
  }
}

TEST_F(Spool, AFolderThatIsNotThereIsNamed) {
  setenv("TMPDIR", folder_.file("missing").c_str(), 1);
  try {
    loop_.run(unnamed_file("-"));
    FAIL() << "opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Could not create a temporary file in '" + folder_.file("missing") +
                                   "': No such file or directory");
  }
}

}  // namespace
}  // namespace byre::storage
