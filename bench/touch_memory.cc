// SPDX-License-Identifier: Apache-2.0
// touch_memory BYTES: writes to so much memory and gives it back. A virtual machine's host may
// provide memory only when it is first written to, and take back what lies idle; a copy that meets
// such memory takes several times as long. bench/run.py calls this before each conversion, so that
// all of them find memory that is there.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  const unsigned long long bytes = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (bytes == 0) {
    std::fputs("touch_memory BYTES\n", stderr);
    return 2;
  }
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("touch_memory");
    return 1;
  }
  return 0;
}
