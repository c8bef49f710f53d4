// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/convert.h"
#include "jobs/progress.h"
#include "jobs/source_states.h"
#include "open/creation_options.h"
#include "qcow2/image/image.h"

namespace byre::jobs {

// Throws if an image with these options cannot have the snapshots of the source.
void check_target_of_snapshots(const open::CreationOptions& options, const SourceStates& states);

// Copies the disk of a qcow2 image with all its snapshots and their VM state to a new one. State by
// state, the oldest first, the target gets what differs from the state before, and then a snapshot: so
// it shares between its snapshots what the source does, whatever the layouts. Ranges that are again as
// in an older snapshot are shared with that one.
//
// Errors and progress are those of convert(), over all states; the errors of a snapshot's copy name
// it. The target then has a part of the snapshots.
struct SnapshotsConversion {
  const SourceStates* states = nullptr;
  qcow2::Image* target = nullptr;  // new, of the size of the active disk
  // As for a conversion of the active disk alone.
  ConvertOptions options;
  Progress* progress = nullptr;                // may stay nullptr
  const Cancellation* cancellation = nullptr;  // the same
};
Task<void> convert_with_snapshots(SnapshotsConversion conversion);

}  // namespace byre::jobs
