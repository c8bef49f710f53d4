// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <string>

#include "block/block_device.h"
#include "storage/file_facts.h"

namespace byre::jobs {

// The files of the host that a device stands on, those of its whole chain included.
std::set<storage::FileIdentity> files_below(const BlockDevice& device);

// The file of that path, behind whatever links; "file:" may stand before it. Nothing: none is
// there.
std::optional<storage::FileIdentity> identity_of(const std::string& path);

// Throws Error(kLocked) where the file is one of `files`, from which a job reads what it is about
// to write. Locks see to that unless they are not to be taken (-U).
void refuse_as_target(const std::string& path, const std::set<storage::FileIdentity>& files);

}  // namespace byre::jobs
