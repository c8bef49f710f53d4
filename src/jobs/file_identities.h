// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <set>
#include <string>

#include "block/block_device.h"
#include "storage/file_facts.h"

namespace byre::jobs {

// The files of the host below a device, including those of its whole chain.
std::set<FileIdentity> files_below(const BlockDevice& device);

// The file of that path, after following links; the path may have the prefix "file:". Nothing if
// there is no file.
std::optional<FileIdentity> identity_of(const std::string& path);

// Throws Error(kLocked) if the file is one of `files`, from which a job reads what it is about to
// write. Locks prevent that unless they are not used (-U).
void refuse_as_target(const std::string& path, const std::set<FileIdentity>& files);

}  // namespace byre::jobs
