// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/check/check.h"
#include "qcow2/image/image.h"
#include "qcow2/repair/repair.h"

namespace byre::qcow2 {

// The file and the header of an open image, which must outlive them.
CheckSubject subject_of(Image& image);

// check() of an image that is open with for_check.
Task<CheckResult> check(Image& image, CheckOptions options);

// repair() of an image.
// REQUIRES: it is open with for_check and writable, and nothing was read from it through its
// caches. Only close() may follow: what it has in memory is out of date.
Task<RepairResult> repair(Image& image, RepairOptions options);

}  // namespace byre::qcow2
