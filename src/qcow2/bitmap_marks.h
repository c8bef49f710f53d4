// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/image.h"

namespace byre::qcow2 {

// Before the first write: sets the in_use flag of every bitmap that should follow the guest's
// writes (flag `auto`), on disk and durably, because byre does not track them. Whoever reads the
// image later sees that such a bitmap was not saved, and does not take a stale one for the truth;
// bitmaps that follow nothing stay as they are (decision 0021). State::bitmaps says the same
// afterwards.
Task<void> mark_bitmaps_in_use(Image::State* state);

}  // namespace byre::qcow2
