// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "async/cancellation.h"
#include "async/task.h"
#include "jobs/latencies.h"
#include "open/open.h"

namespace byre::jobs {

// The requests of a measurement. Request number n is at (offset + n * step) modulo the size of the
// disk; one that extends past the end of the disk fails.
struct BenchRequests {
  bool writes = false;
  uint64_t count = 75000;
  uint64_t length = 4096;
  uint64_t depth = 64;  // requests in flight
  uint64_t offset = 0;
  uint64_t step = 4096;
  uint8_t pattern = 0;  // what is written
  // Flush whenever the number of requests that are left is a multiple of it; 0: never.
  uint64_t flush_interval = 0;
  bool drains = true;  // a flush waits for the requests before it, and those after it wait for it
};

// A measurement of an image that is named: `bench` as a whole.
struct BenchJob {
  std::string filename;  // a name, as for open::open_image(); of options if image.name_is_tree
  open::ImageOptions image;
  bool native_aio = false;  // the file must be opened without the host's cache
  BenchRequests requests;
  std::function<void()> on_open;               // called before the first request
  const Cancellation* cancellation = nullptr;  // outlives the job
};

struct BenchResult {
  std::chrono::nanoseconds elapsed{0};
  Latencies latencies;
  uint64_t flushes = 0;
};

// Opens the image, measures, and closes it. Throws Error with QEMU's message: "Failed request:
// <reason>" if a request fails, after which no more are sent.
Task<BenchResult> bench(BenchJob job);

}  // namespace byre::jobs
