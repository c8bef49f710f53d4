// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

// Whether the image looks as if its metadata had been preallocated: it uses noticeably more
// clusters (one in ten) than the file has space on the host's disk. Then its data clusters may lie
// in holes of the file, and it is worth a look. Reads the refcount table, and the refcounts unless
// the file's size alone answers. QEMU's rule, so that `map` shows the same.
Task<bool> looks_preallocated(Context* context, TableCache* refcount_cache);

}  // namespace byre::qcow2
