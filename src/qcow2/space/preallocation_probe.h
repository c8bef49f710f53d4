// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/core/context.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

// Whether the image looks as if its metadata was preallocated: it uses noticeably more clusters
// than the file has space for on the host's disk (at least one in ten has none). Its data clusters
// may then be holes of the file, which is worth checking. Reads the refcount table, and the
// refcounts unless the file's size alone decides. QEMU's rule, so that `map` shows the same.
Task<bool> looks_preallocated(Context* context, TableCache* refcount_cache);

}  // namespace byre::qcow2
