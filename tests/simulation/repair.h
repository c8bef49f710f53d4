// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "simulation/session.h"

namespace byre::simulation {

// Repairs the image while it is closed; the power may fail at any moment. What a power cut leaves
// can be repaired again, and nothing that could be read is lost on the way. Returns what is wrong.
std::optional<std::string> repair_image(World* world, uint64_t seed);

}  // namespace byre::simulation
