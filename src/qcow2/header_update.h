// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "async/task.h"
#include "qcow2/image.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2 {

// Changes of single header fields in place: one small write inside the first sector, which a disk
// does whole or not at all, between two flushes, so that what was written before is there first and
// the change is durable when the call is done. State's header follows once the write succeeded.
// After a failure nobody knows which of both is on disk: the image refuses further writes.
class HeaderUpdate {
 public:
  explicit HeaderUpdate(Image::State* state) : state_(state) {}

  Task<void> set_refcount_table(layout::HostOffset offset, uint32_t clusters);
  Task<void> set_l1_table(layout::HostOffset offset, uint32_t entries);
  Task<void> set_size(uint64_t size);
  // Masks, so that two who change different bits at a time do not undo one another's. Version 3
  // only; nothing is written where nothing changes.
  struct FeatureChange {
    uint64_t incompatible_set = 0;
    uint64_t incompatible_cleared = 0;
    uint64_t autoclear_cleared = 0;
  };
  Task<void> change_features(FeatureChange change);

 private:
  Task<void> write(size_t offset, ConstBytes bytes);

  Image::State* state_;
};

}  // namespace byre::qcow2
