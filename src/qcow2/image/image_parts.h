// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/image/cache_cleaner.h"
#include "qcow2/image/cache_sizes.h"
#include "qcow2/image/write_parts.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/read/mapping.h"
#include "qcow2/read/reader.h"
#include "qcow2/tables/tables.h"

namespace byre::qcow2 {

// What opening an image reads and checks.
struct LoadedImage {
  std::unique_ptr<BlockDevice> file;
  OpenOptions options;
  layout::HeaderCluster first_cluster;
  bool is_repaired = false;  // a dirty bit in the header is to be ignored
  CacheSizes cache_sizes;
  L1Table l1;
  std::vector<layout::Snapshot> snapshots;
  std::vector<layout::BitmapEntry> bitmaps;
  bool has_unreadable_bitmaps = false;  // then `bitmaps` is empty
};

// Reads and validates the header, its extensions, the L1 table, the snapshot table and the bitmap
// directory; repairs the refcounts if a writer with lazy refcounts did not close the image. Errors
// are those of Image::open().
Task<LoadedImage> load_image(std::unique_ptr<BlockDevice> file, OpenOptions options);

// The L1 table of a snapshot, which has been validated and outlives the task.
Task<L1Table> load_snapshot_l1(BlockDevice* file, const layout::Snapshot* snapshot);

// An open image's parts, created and destroyed together; Image passes requests to them. A part
// knows the parts that its constructor gets, and none of them knows this struct.
struct ImageParts {
  explicit ImageParts(LoadedImage loaded);
  // Of the image in that file; see load_image().
  static Task<std::unique_ptr<ImageParts>> open(std::unique_ptr<BlockDevice> file,
                                                OpenOptions options);

  // The parts that write, created by the first call.
  WriteParts& write_parts();
  // Asserts the invariants of all parts that have a check(). For tests; debug builds call it when the
  // image is closed.
  void check() const;

  Context context;
  std::vector<layout::Snapshot> snapshots;
  std::vector<layout::BitmapEntry> bitmaps;
  const bool has_unreadable_bitmaps;
  Tables tables;
  CacheCleaner cache_cleaner;
  Mapping mapping;
  Reader reader;
  std::optional<bool> is_preallocated;  // known after the first query: preallocation_probe.h
  std::unique_ptr<WriteParts> writing;  // nullptr: nothing was written yet
};

}  // namespace byre::qcow2
