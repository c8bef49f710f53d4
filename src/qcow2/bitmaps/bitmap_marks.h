// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/space/overlap_check.h"

namespace byre::qcow2 {

// Call before the first write: sets the in_use flag of every bitmap that should follow the guest's
// writes (flag `auto`), on disk and durably, because byre does not track them. A later reader then
// knows that such a bitmap was not saved, and does not trust stale contents; other bitmaps stay as
// they are (decision 0021). `bitmaps`, those of the directory, is updated accordingly.
Task<void> mark_bitmaps_in_use(Context* context, const OverlapCheck& overlap,
                               std::vector<layout::BitmapEntry>* bitmaps);

}  // namespace byre::qcow2
