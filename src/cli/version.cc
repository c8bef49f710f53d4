// SPDX-License-Identifier: Apache-2.0
#include "cli/help.h"
#include "cli/messages.h"

namespace byre::cli {
namespace {

// The release whose options, messages and exit codes byre has. Scripts read it to find out what
// they may use.
constexpr const char* kQemuVersion = "10.0.2";

}  // namespace

void print_version(const Invocation& invocation) {
  if (invocation.as_qemu()) {
    print(invocation.program + " version " + kQemuVersion + " (byre " BYRE_VERSION ")\n");
  } else {
    print("byre version " BYRE_VERSION " (as qemu-img " + std::string(kQemuVersion) + ")\n");
  }
  print("byre: qcow2 and raw disk images. Licence: Apache-2.0\n");
}

}  // namespace byre::cli
