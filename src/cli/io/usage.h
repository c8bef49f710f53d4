// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace byre::cli::io {

// What `--help` prints, and what is printed for a wrong option: the options of qemu-io, which are
// the options of `byre io`.
std::string program_usage(const Invocation& invocation);

}  // namespace byre::cli::io
