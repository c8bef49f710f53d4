// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace byre::cli {

// `-T`: QEMU's choice of trace points. byre has none, so each one named does not exist; QEMU's
// warning says so and nothing else happens. A pattern that matches nothing is no mistake there
// either. Throws Error for a parameter that QEMU does not know.
void apply_trace_option(const Invocation& invocation, const std::string& text);

}  // namespace byre::cli
