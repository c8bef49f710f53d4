// SPDX-License-Identifier: Apache-2.0
#include "cli/standard_streams.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace byre::cli {
namespace {

// The result of a child process that closed the descriptors of the bits of `closed`: 0 is success.
int outcome_in_child(unsigned closed) {
  const pid_t child = fork();
  if (child == 0) {
    for (int fd = 0; fd < 3; ++fd) {
      if ((closed & (1u << fd)) != 0) ::close(fd);
    }
    if (!open_standard_streams()) _exit(1);
    const int next = ::open("/dev/null", O_RDONLY);
    if (next < 3) _exit(2);
    char byte = 0;
    if ((closed & 1) != 0 && (read(0, &byte, 1) != -1 || errno != EBADF)) _exit(3);
    if ((closed & 2) != 0 && (write(1, &byte, 1) != -1 || errno != EBADF)) _exit(4);
    if ((closed & 4) != 0 && (write(2, &byte, 1) != -1 || errno != EBADF)) _exit(5);
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(StandardStreams, NoFileGetsTheNumberOfOneThatIsClosed) {
  for (unsigned closed = 0; closed < 8; ++closed) {
    EXPECT_EQ(outcome_in_child(closed), 0) << "closed " << closed;
  }
}

}  // namespace
}  // namespace byre::cli
