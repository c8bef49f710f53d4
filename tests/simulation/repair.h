// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "simulation/session.h"

namespace byre::simulation {

// Somebody repairs the image while it is closed; the power may fail at any moment of that. What a
// power cut leaves can be repaired again, and nothing that could be read is lost on the way. Gives
// what is wrong.
std::optional<std::string> repair_image(World* world, uint64_t seed);

}  // namespace byre::simulation
