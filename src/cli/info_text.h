// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "cli/json_text.h"
#include "jobs/info.h"

// How `info` prints the results of its job.
namespace byre::cli {

JsonText info_to_json(const jobs::ImageInfo& info);
std::string info_to_human_text(const jobs::ImageInfo& info);

// The qcow2-specific part, in the form of QEMU's "format-specific" object.
JsonText qcow2_details(const jobs::Qcow2Info& qcow2);
// The same for a file of the host.
JsonText file_details(const jobs::ImageInfo& info);

JsonText snapshot_json(const jobs::SnapshotInfo& snapshot);
// The rows of the table of internal snapshots, without line ends, heading first; times in the
// machine's time zone.
std::vector<std::string> snapshot_rows(const std::vector<jobs::SnapshotInfo>& snapshots);

}  // namespace byre::cli
