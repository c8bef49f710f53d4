// SPDX-License-Identifier: Apache-2.0
#include "qcow2/snapshots/snapshot_selector.h"

#include <algorithm>
#include <cerrno>

#include "byre/error.h"

namespace byre::qcow2 {

using layout::Snapshot;

namespace {

bool matches(const Snapshot& snapshot, const SnapshotSelector& selector) {
  if (!selector.id && !selector.name) return false;
  return (!selector.id || snapshot.id == *selector.id) &&
         (!selector.name || snapshot.name == *selector.name);
}

}  // namespace

size_t find_snapshot(const std::vector<Snapshot>& snapshots, const SnapshotSelector& selector) {
  auto found = snapshots.end();
  if (selector.id_or_name) {
    found = std::ranges::find(snapshots, *selector.id_or_name, &Snapshot::id);
    if (found == snapshots.end()) {
      found = std::ranges::find(snapshots, *selector.id_or_name, &Snapshot::name);
    }
  } else {
    found = std::ranges::find_if(
        snapshots, [&selector](const Snapshot& each) { return matches(each, selector); });
  }
  if (found == snapshots.end()) {
    throw Error(ErrorKind::kNotFound, ENOENT, ErrorData{.code = "qcow2-snapshot-not-found"},
                "the image has no such snapshot");
  }
  return static_cast<size_t>(found - snapshots.begin());
}

}  // namespace byre::qcow2
