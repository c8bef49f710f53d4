// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/check/check.h"
#include "qcow2/image/image.h"
#include "qcow2/repair/repair.h"

namespace byre::qcow2 {

// The file and the header of an open image, which outlives them.
CheckSubject subject_of(Image& image);

// check() of an image that is open for_check.
Task<CheckResult> check(Image& image, CheckOptions options);

// repair() of an image that is open for_check and writable. Nothing was read from it through its
// caches, and its close() is all that follows: what it has in memory is no longer true.
Task<RepairResult> repair(Image& image, RepairOptions options);

}  // namespace byre::qcow2
