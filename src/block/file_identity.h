// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <compare>

namespace byre {

// Identifies a file of the host, whatever its names: used to detect a chain that contains itself.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  auto operator<=>(const FileIdentity&) const = default;
};

}  // namespace byre
