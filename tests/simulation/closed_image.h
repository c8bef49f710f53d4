// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/sparse_bytes.h"

namespace byre::simulation {

// What another program could have made of an image while it was closed. The refcounts are counted
// anew, so leaks are gone. Nothing where that cannot be: refcounts too narrow, no room below
// `size_max` or in the first cluster. The image has no external data file.

// With one more internal snapshot, of its disk as it is.
std::optional<storage::SparseBytes> make_snapshot(const storage::SparseBytes& image,
                                                  const std::string& id, uint64_t size_max);

// With one bitmap that follows what is written, and no other: it says that nothing was since now.
std::optional<storage::SparseBytes> make_bitmap(const storage::SparseBytes& image,
                                                uint64_t size_max);

}  // namespace byre::simulation
