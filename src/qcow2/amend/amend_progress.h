// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

namespace byre::qcow2 {

// Told, as a change of a whole image goes on, which part of the work is done: `done` of `total`,
// which may change as more becomes known. It may throw, which stops the change where that leaves the
// image sound. Empty: nobody wants to know.
using AmendProgress = std::function<void(uint64_t done, uint64_t total)>;

}  // namespace byre::qcow2
