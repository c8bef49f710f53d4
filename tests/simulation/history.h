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

// Simulates one seed: an image is created and opened again and again. The same seed and program
// give the same history, request by request. `trace` is called with a line for each request; it may
// be empty.
Result run_history(uint64_t seed, std::function<void(const std::string&)> trace);

}  // namespace byre::simulation
