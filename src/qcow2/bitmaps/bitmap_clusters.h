// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

// The clusters that the image's bitmaps take, for a caller that removes all of them: the directory,
// the tables, and what these refer to. `bitmaps`: those of the directory. Throws Error(kCorrupt) if
// a table has an invalid entry.
Task<std::vector<ClusterRange>> clusters_of_bitmaps(Context* context,
                                                    std::vector<layout::BitmapEntry> bitmaps);

}  // namespace byre::qcow2
