// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "qcow2/layout/snapshot.h"

namespace byre::qcow2 {

// Which internal snapshot to read instead of the active disk. If both `id` and `name` are given,
// both must match; `id_or_name` is the argument of `-l SNAPSHOT`: an id first, then a name.
struct SnapshotSelector {
  std::optional<std::string> id;
  std::optional<std::string> name;
  std::optional<std::string> id_or_name;
};

// The index of the first snapshot that the selector matches. Throws Error(kNotFound, ENOENT) if
// there is none.
size_t find_snapshot(const std::vector<layout::Snapshot>& snapshots,
                     const SnapshotSelector& selector);

}  // namespace byre::qcow2
