// SPDX-License-Identifier: Apache-2.0
// measured_run REPORT OUTPUT PROGRAM ARGUMENTS...: runs a program with its output in the file
// OUTPUT and writes to REPORT "<exit code> <wall ns> <user us> <system us> <peak KiB>". It is
// small, so that the peak of a small program is not hidden behind that of what started it: a child
// inherits the peak of its parent.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

namespace {

long long now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

long long microseconds(const timeval& time) {
  return time.tv_sec * 1000000LL + time.tv_usec;
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 4) return 2;
  const long long begin = now_ns();
  const pid_t child = fork();
  if (child == 0) {
    const int nothing = open("/dev/null", O_RDWR);
    const int output = open(arguments[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    execvp(arguments[3], arguments + 3);
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child) return 2;
  const long long wall = now_ns() - begin;
  std::FILE* report = std::fopen(arguments[1], "w");
  if (report == nullptr) return 2;
  std::fprintf(report, "%d %lld %lld %lld %ld\n",
               WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), wall,
               microseconds(usage.ru_utime), microseconds(usage.ru_stime), usage.ru_maxrss);
  return std::fclose(report) == 0 ? 0 : 2;
}
