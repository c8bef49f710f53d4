// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"
#include "open/open.h"

namespace byre::cli {

// The value of `-l`: an id or a name, or "snapshot.id=ID,snapshot.name=NAME". A name without "="
// has the value "on" or "off", as in `-o`, and QEMU's warning. Throws Error with QEMU's two lines;
// the second begins with the program's name. If "help" is among them, first prints the available
// options.
open::SnapshotSelector parse_snapshot_option(const std::string& text, const Invocation& invocation);

}  // namespace byre::cli
