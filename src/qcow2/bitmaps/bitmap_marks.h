// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/space/overlap_check.h"

namespace byre::qcow2 {

// Before the first write: sets the in_use flag of every bitmap that should follow the guest's
// writes (flag `auto`), on disk and durably, because byre does not track them. Whoever reads the
// image later sees that such a bitmap was not saved, and does not take a stale one for the truth;
// bitmaps that follow nothing stay as they are (decision 0021). `bitmaps`, those of the directory, says the
// same afterwards.
Task<void> mark_bitmaps_in_use(Context* context, const OverlapCheck& overlap,
                               std::vector<layout::BitmapEntry>* bitmaps);

}  // namespace byre::qcow2
