// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/sparse_bytes.h"

namespace byre::simulation {

// The image with one more internal snapshot, of its disk as it is: what another program could have
// made of it while it was closed. The refcounts are counted anew, so leaks are gone. Nothing where
// that cannot be: refcounts too narrow, or no room below `size_max`.
std::optional<storage::SparseBytes> make_snapshot(const storage::SparseBytes& image,
                                                  const std::string& id, uint64_t size_max);

}  // namespace byre::simulation
