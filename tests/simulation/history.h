// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "simulation/session.h"

namespace byre::simulation {

struct Result {
  Plan plan;
  Counts counts;
  std::optional<std::string> failure;
};

// All that one seed simulates: an image is made and opened again and again. The same seed, the same
// program: the same history, request by request. `trace` gets a line for each; it may be empty.
Result run_history(uint64_t seed, std::function<void(const std::string&)> trace);

}  // namespace byre::simulation
