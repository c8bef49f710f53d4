// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "byre/error.h"

namespace byre {

enum class WarningKind {
  kDeprecatedOption,     // of an image's description
  kFormatGuessed,        // raw, because nothing said another one; data().name is the file
  kStaleBitmaps,         // no longer valid: a program that does not know them wrote to the image
  kBitmapsUnreadable,    // the disk can be read, its bitmaps cannot
  kSnapshotsUnreadable,  // the same for its snapshots
  kRepaired,             // a finding of the repair that opening the image needed
  kMarkedCorrupt,        // refuses all further requests, and is marked in its header
  kCorrupt,              // but still readable
  kLeaked,               // clusters that nothing uses stay allocated until a repair frees them
};

// What the user of an image should know although no request has failed. `problem` describes it as an
// error would be described; nobody throws it.
struct Warning {
  WarningKind kind;
  Error problem;
};

using OnWarning = std::function<void(const Warning&)>;

}  // namespace byre
