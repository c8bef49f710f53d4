// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qcow2/amend/refcount_width.h"
#include "qcow2/amend/version_change.h"
#include "qcow2/resize/emptying.h"
#include "qcow2/resize/growth.h"
#include "qcow2/resize/shrink.h"
#include "qcow2/snapshots/cluster_sharing.h"
#include "qcow2/snapshots/snapshots.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/deferred_discards.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/space/refcounts.h"
#include "qcow2/write/compressed_writer.h"
#include "qcow2/write/flusher.h"
#include "qcow2/write/linker.h"
#include "qcow2/write/preparation.h"
#include "qcow2/write/writer.h"
#include "qcow2/write/zeroing.h"

namespace byre::qcow2 {

struct ImageParts;

// The parts of an image that has been asked to write. The first such request creates them, so that
// an image that is open for writing and only read stays as it is. Each part uses only those above
// it.
struct WriteParts {
  explicit WriteParts(ImageParts* image);

  // Writes everything back, refcounts included, and clears the dirty bit.
  Task<void> finish();

  Context* context;
  OverlapCheck overlap;
  Refcounts refcounts;
  Allocator allocator;
  DeferredDiscards discards;
  Linker linker;
  Writer writer;
  Zeroing zeroing;
  Flusher flusher;
  Preparation preparation;
  CompressedWriter compressed;
  Growth growth;
  Shrink shrink;
  Snapshots snapshots;
  ClusterSharing sharing;
  Emptying emptying;
  RefcountWidth refcount_width;
  VersionChange version_change;
};

}  // namespace byre::qcow2
