// SPDX-License-Identifier: Apache-2.0
// measured_run REPORT OUTPUT TIMES PROGRAM ARGUMENTS...: runs a program TIMES times in sequence,
// with its output in the file OUTPUT, and writes to REPORT "<exit code> <wall ns> <user us> <system
// us> <peak KiB>": means, and the overall peak. It stops at a run that fails. It is small, so that
// the peak of a small program is not hidden by that of its parent: a child inherits its parent's
// peak.
#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace {

long long now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

long long microseconds(const timeval& time) {
  return time.tv_sec * 1000000LL + time.tv_usec;
}

struct Sums {
  int code = 0;  // of the last run
  long long wall = 0;
  long long user = 0;
  long long system = 0;
  long peak = 0;
};

bool run_once(int output, char** command, Sums& sums) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  // Not fork(), whose cost would be attributed to a small program.
  const long long begin = now_ns();
  pid_t child = 0;
  const int error = posix_spawnp(&child, command[0], &actions, nullptr, command, environ);
  int status = 0;
  rusage usage{};
  if (error != 0 || wait4(child, &status, 0, &usage) != child) return false;
  sums.wall += now_ns() - begin;
  sums.user += microseconds(usage.ru_utime);
  sums.system += microseconds(usage.ru_stime);
  posix_spawn_file_actions_destroy(&actions);
  sums.peak = std::max(sums.peak, usage.ru_maxrss);
  sums.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return true;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5) return 2;
  const int times = std::atoi(arguments[3]);
  if (times < 1) return 2;
  // Kept open for all runs: when a program that has truncated and written a file closes it, ext4
  // writes it to the disk.
  const int output = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (output < 0) return 2;
  Sums sums;
  for (int i = 0; i < times && sums.code == 0; ++i) {
    if (!run_once(output, arguments + 4, sums)) return 2;
  }
  std::FILE* report = std::fopen(arguments[1], "w");
  if (report == nullptr) return 2;
  std::fprintf(report, "%d %lld %lld %lld %ld\n", sums.code, sums.wall / times, sums.user / times,
               sums.system / times, sums.peak);
  return std::fclose(report) == 0 ? 0 : 2;
}
