// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <cstdint>
#include <vector>

#include "async/task.h"
#include "byre/error.h"
#include "qcow2/amend/amend_progress.h"
#include "qcow2/core/context.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

class Allocator;
class Flusher;
class OverlapCheck;
class RefcountRebuild;
struct Tables;

// Changes the width of an image's refcounts, as a whole or not at all: a second refcount structure
// is written to free clusters, one write of the header makes it the image's, and when that is
// durable, the clusters of the first one become free. Wherever this stops, the image is sound, and
// at worst has leaks. Part of WriteParts.
class RefcountWidth {
 public:
  RefcountWidth(Context* context, Tables* tables, Refcounts* refcounts, Allocator* allocator,
                Flusher* flusher, OverlapCheck* overlap)
      : context_(context),
        tables_(tables),
        refcounts_(refcounts),
        allocator_(allocator),
        flusher_(flusher),
        overlap_(overlap),
        no_memory_(ErrorKind::kNoMemory, ENOMEM, errno_text(ENOMEM)) {}

  // Throws Error(kUnsupported, EINVAL) if a refcount does not fit entries of 2^order bits. Needs no
  // preparation for writing.
  Task<void> check_fits(uint32_t order);
  // Entries of 2^order bits; durable when it is done. Throws what check_fits() throws before it
  // changes anything.
  // REQUIRES: the image has version 3.
  Task<void> change(uint32_t order, AmendProgress on_progress);

 private:
  Task<void> replace(RefcountRebuild* rebuild, uint32_t order, bool* may_be_replaced);
  Task<void> adopt(std::vector<uint64_t> table);
  std::vector<ClusterRange> clusters_of_structure() const;

  Context* context_;
  Tables* tables_;
  Refcounts* refcounts_;
  Allocator* allocator_;
  Flusher* flusher_;
  OverlapCheck* overlap_;
  // Made before it is needed: then there may be no memory for it.
  Error no_memory_;
};

}  // namespace byre::qcow2
