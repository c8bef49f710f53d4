// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qcow2/tables/l1_table.h"
#include "qcow2/tables/table_cache.h"

namespace byre::qcow2 {

// The tables of an open image in memory.
struct Tables {
  L1Table l1;  // of the active disk, or of the snapshot that is loaded
  TableCache l2_cache;
  TableCache refcount_cache;
};

}  // namespace byre::qcow2
