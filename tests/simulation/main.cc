// SPDX-License-Identifier: Apache-2.0
// simulation --from SEED --seeds N [--crashes N] [--failures N] [--trace]
//
// Runs seeds one after another, until that many crashes or failures have happened, and prints a
// summary; scripts/simulate runs many of these. Each seed is printed on standard output before it
// begins, so that one that kills the program is known.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>

#include "simulation/history.h"

namespace byre::simulation {
namespace {

struct Arguments {
  uint64_t from = 1;
  uint64_t seeds = 1;
  uint64_t crashes_max = UINT64_MAX;  // no seed begins after this many
  uint64_t failures_max = UINT64_MAX;
  bool trace = false;
};

[[noreturn]] void usage() {
  std::fputs("usage: simulation --from SEED --seeds N [--crashes N] [--failures N] [--trace]\n",
             stderr);
  std::exit(2);
}

uint64_t number(const char* text) {
  char* end = nullptr;
  const uint64_t value = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0') usage();
  return value;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--trace") {
      arguments.trace = true;
      continue;
    }
    if (++i == argc) usage();
    if (name == "--from") {
      arguments.from = number(argv[i]);
    } else if (name == "--seeds") {
      arguments.seeds = number(argv[i]);
    } else if (name == "--crashes") {
      arguments.crashes_max = number(argv[i]);
    } else if (name == "--failures") {
      arguments.failures_max = number(argv[i]);
    } else {
      usage();
    }
  }
  return arguments;
}

int run(const Arguments& arguments) {
  Counts sum;
  std::map<std::string, uint64_t> features;
  uint64_t seeds = 0;
  uint64_t failures = 0;
  std::function<void(const std::string&)> trace;
  if (arguments.trace) trace = [](const std::string& line) { fmt::print("{}\n", line); };
  const auto begin = std::chrono::steady_clock::now();
  for (; seeds < arguments.seeds && sum.crashes < arguments.crashes_max &&
         failures < arguments.failures_max;
       ++seeds) {
    const uint64_t seed = arguments.from + seeds;
    fmt::print("seed {}, {} crashes so far\n", seed, sum.crashes);
    std::fflush(stdout);
    const Result result = run_history(seed, trace);
    sum.crashes += result.counts.crashes;
    sum.sessions += result.counts.sessions;
    sum.requests += result.counts.requests;
    sum.disk_requests += result.counts.disk_requests;
    sum.errors += result.counts.errors;
    for (const std::string& feature : result.plan.features()) ++features[feature];
    if (!result.failure) continue;
    ++failures;
    fmt::print("FAILED seed {}: {}\n  {}\n", seed, *result.failure, result.plan.describe());
    std::fflush(stdout);
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  fmt::print(
      "counts seeds={} crashes={} sessions={} requests={} disk_requests={} errors={}"
      " failures={} milliseconds={}\n",
      seeds, sum.crashes, sum.sessions, sum.requests, sum.disk_requests, sum.errors, failures,
      static_cast<uint64_t>(time.count() * 1000));
  for (const auto& [feature, count] : features) fmt::print("feature {}={}\n", feature, count);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace byre::simulation

int main(int argc, char** argv) {
  return byre::simulation::run(byre::simulation::parse(argc, argv));
}
