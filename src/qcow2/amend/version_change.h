// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "qcow2/amend/amend_progress.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class OverlapCheck;
struct Tables;

// What an image will be like when it goes to version 2.
struct Downgrade {
  uint64_t size = 0;  // of the disk
  uint32_t refcount_bits = 16;
  bool drops_bitmaps = false;  // version 2 cannot keep them
};

// Changes the version of an image. The header changes as a whole, after what the new version needs
// or does not have was changed in ways that both versions allow: wherever this stops, the image is
// sound, has one of the two versions, and at worst leaks; another run does what is left. Part of
// WriteParts.
class VersionChange {
 public:
  // `snapshots` and `bitmaps` are those of the image.
  VersionChange(Context* context, Tables* tables, std::vector<layout::Snapshot>* snapshots,
                std::vector<layout::BitmapEntry>* bitmaps, Refcounts* refcounts,
                Allocator* allocator, Flusher* flusher, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        snapshots_(snapshots),
        bitmaps_(bitmaps),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher),
        overlap_(overlap) {}

  // Throws Error(kUnsupported, ENOTSUP) if version 2 does not have something that the image has.
  void check_downgrade(const Downgrade& wanted) const;
  // To version 3. Each snapshot gets the fields that it requires.
  Task<void> upgrade();
  // To version 2, without zero clusters: see ZeroExpansion.
  Task<void> downgrade(bool drops_bitmaps, AmendProgress on_progress);

 private:
  Task<void> complete_snapshots();
  Task<void> replace_header(layout::HeaderCluster target);

  Context* context_;
  Tables* tables_;
  std::vector<layout::Snapshot>* snapshots_;
  std::vector<layout::BitmapEntry>* bitmaps_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
  OverlapCheck* overlap_;
};

}  // namespace byre::qcow2
