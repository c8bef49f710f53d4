// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace byre::cli::io {

// The output of `--help`, also printed for an invalid option: the options of qemu-io, which are
// those of `byre io`.
std::string program_usage(const Invocation& invocation);

}  // namespace byre::cli::io
