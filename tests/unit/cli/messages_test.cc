// SPDX-License-Identifier: Apache-2.0
#include "cli/messages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

namespace byre::cli {
namespace {

// What flush_output() says in a child process that prints pieces of these sizes to `fd`: 0, or the
// errno.
int outcome_in_child(int fd, const std::vector<size_t>& pieces) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGPIPE, SIG_IGN);
    dup2(fd, STDOUT_FILENO);
    for (const size_t length : pieces) print(std::string(length, 'x'));
    try {
      flush_output();
    } catch (const Error& error) {
      _exit(error.errno_value());
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Output that does not fit into the buffer fails when it is printed, the rest at the end.
const std::vector<std::vector<size_t>> kSizes = {{1}, {100000}, {100000, 1}, {5000, 5000, 100000}};

TEST(Messages, OutputThatFailedIsReportedWithItsErrorWhateverItsLength) {
  const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  for (const std::vector<size_t>& sizes : kSizes) {
    EXPECT_EQ(outcome_in_child(full, sizes), ENOSPC) << testing::PrintToString(sizes);
  }
  ::close(full);
}

TEST(Messages, AReaderThatWentAwayIsNoError) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ::close(ends[0]);
  for (const std::vector<size_t>& sizes : kSizes) {
    EXPECT_EQ(outcome_in_child(ends[1], sizes), 0) << testing::PrintToString(sizes);
  }
  ::close(ends[1]);
}

}  // namespace
}  // namespace byre::cli
