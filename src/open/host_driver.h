// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "open/driver.h"
#include "storage/file_facts.h"

namespace byre::open {

// How a driver opens a name of the host; nothing if it does not.
std::optional<storage::HostDriver> host_driver(const Driver& driver);

}  // namespace byre::open
