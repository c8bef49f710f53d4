// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"

namespace byre::cli {

// `-T`: QEMU's selection of trace points. byre has none, so none of those named exists; QEMU's
// warning is printed for each, and nothing else happens. A pattern that matches nothing is not an
// error there either. Throws Error for a parameter that QEMU does not know.
void apply_trace_option(const Invocation& invocation, const std::string& text);

}  // namespace byre::cli
