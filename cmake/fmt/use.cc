// SPDX-License-Identifier: Apache-2.0
// The functions of fmt that byre uses, to test whether fmt.cc contains them all.
#include <fmt/format.h>

int main(int argc, char** argv) {
  const std::string text =
      fmt::format("{} '{}' {:x} {:#x} {:08} {:.2f} {:>5} {:<5}", argc, argv[0], argc,
                  static_cast<unsigned long>(argc), argc, argc / 2.0, argc, "a");
  return text.empty() ? 1 : 0;
}
