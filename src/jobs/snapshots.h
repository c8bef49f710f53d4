// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "byre/error.h"
#include "jobs/info.h"
#include "open/open.h"

// Internal snapshots of images: the tasks of `snapshot`.
namespace byre::jobs {

struct SnapshotUse {
  SnapshotInfo info;
  // Bytes of the file that only this snapshot uses: what deleting it would free. Nothing: its
  // tables or the refcounts are damaged.
  std::optional<uint64_t> exclusive_size;
};

// The snapshots of an image, in the order of its snapshot table; none for a format without
// snapshots. `with_use` takes as long as reading all tables of all snapshots.
enum class SnapshotDetails { kPlain, kWithUse };
Task<std::vector<SnapshotUse>> list_snapshots(std::string filename, open::ImageOptions options,
                                              SnapshotDetails details);

// A failure of one of the tasks below, once the images were open.
class SnapshotError : public Error {
 public:
  explicit SnapshotError(const Error& error) : Error(error) {}
};

struct SnapshotTarget {
  std::string filename;
  open::ImageOptions image;
};

// Creates a snapshot of the images' current contents in each of them, at the same time: all are
// opened before the first one is created, and if one fails, the snapshots that were created are
// deleted again. If there are several images, the error names the one that failed.
Task<void> create_snapshots(std::vector<SnapshotTarget> targets, std::string name);
// `id_or_name`: an id first, then a name.
Task<void> apply_snapshot(SnapshotTarget target, std::string id_or_name);
Task<void> delete_snapshot(SnapshotTarget target, std::string name);

}  // namespace byre::jobs
