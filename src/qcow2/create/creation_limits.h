// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "qcow2/create/create.h"

// The bounds of a new image's options, and the checks that create and measure share, with QEMU's
// messages.
namespace byre::qcow2 {

inline constexpr uint64_t kExtendedL2ClusterSizeMin = 16384;
inline constexpr uint64_t kDefaultRefcountBits = 16;

// Checks that it is a power of two within the bounds, and large enough for extended L2 entries if
// these are asked for.
void check_cluster_size(const CreateOptions& options);
// Checks that it is a power of two up to 64.
void check_refcount_bits(const CreateOptions& options);
// Entries of the L1 table of a disk of `size` bytes.
// REQUIRES: check_cluster_size() has passed.
uint64_t l1_entries_for(const CreateOptions& options, uint64_t size);

}  // namespace byre::qcow2
