// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "qcow2/image.h"

namespace byre::cli {

// The value of `-l`: an id or a name, or "snapshot.id=ID,snapshot.name=NAME". Throws Error in
// QEMU's two lines; `program` is the name that begins the second.
qcow2::SnapshotSelector parse_snapshot_option(const std::string& text, const std::string& program);

}  // namespace byre::cli
