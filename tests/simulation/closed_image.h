// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/sparse_bytes.h"

namespace byre::simulation {

// Changes that another program could make to an image while it is closed. The refcounts are
// computed anew, so leaks disappear. nullopt if the change is impossible: refcounts are too narrow,
// or there is no space below `size_max` or in the first cluster.
// REQUIRES: the image has no external data file.

// The image with another internal snapshot of its current disk.
std::optional<storage::SparseBytes> make_snapshot(const storage::SparseBytes& image,
                                                  const std::string& id, uint64_t size_max);

// The image with one bitmap that follows the guest's writes, and no others: the bitmap says that
// nothing has been written since.
std::optional<storage::SparseBytes> make_bitmap(const storage::SparseBytes& image,
                                                uint64_t size_max);

}  // namespace byre::simulation
