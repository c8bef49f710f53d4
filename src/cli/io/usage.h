// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace byre::cli::io {

// The output of `--help`, also printed for an invalid option: QEMU's text under the name qemu-io.
// The options are the same under both names.
std::string program_usage(const Invocation& invocation);

}  // namespace byre::cli::io
