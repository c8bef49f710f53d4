// SPDX-License-Identifier: Apache-2.0
#include "cli/io/map_commands.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/messages.h"

namespace byre::cli::io {
namespace {

constexpr int64_t kSector = 512;

// Contiguous bytes that the image itself determines, or does not.
struct Run {
  uint64_t length = 0;
  bool allocated = false;
};

// The run that begins at `offset`, which must be on the device, at most `length` long. It ends
// before a range whose state cannot be read; a call that starts there throws the error.
Task<Run> next_run(BlockDevice& device, uint64_t offset, uint64_t length) {
  Run run;
  while (run.length < length) {
    std::vector<Extent> extents;
    try {
      extents =
          co_await device.extents(offset + run.length, length - run.length, ExtentScope::kLayer);
    } catch (const Error&) {
      if (run.length == 0) throw;
      co_return run;
    }
    for (const Extent& extent : extents) {
      if (run.length > 0 && extent.present != run.allocated) co_return run;
      run.allocated = extent.present;
      run.length += extent.length;
    }
  }
  co_return run;
}

Task<uint64_t> allocated_bytes(BlockDevice& device, uint64_t offset, uint64_t length) {
  uint64_t sum = 0;
  for (uint64_t done = 0; done < length;) {
    const Run run = co_await next_run(device, offset + done, length - done);
    if (run.allocated) sum += run.length;
    done += run.length;
  }
  co_return sum;
}

Task<void> print_map(BlockDevice& device) {
  const uint64_t size = device.size();
  for (uint64_t offset = 0; offset < size;) {
    const Run run = co_await next_run(device, offset, size - offset);
    print(fmt::format("{} ({:#x}) bytes {} at offset {} ({:#x})\n",
                      amount_text(static_cast<double>(run.length)), run.length,
                      run.allocated ? "    allocated" : "not allocated",
                      amount_text(static_cast<double>(offset)), offset));
    offset += run.length;
  }
}

}  // namespace

void run_alloc(Session& session, CommandLine& line) {
  const auto offset = static_cast<uint64_t>(parse_offset(line.word(1)));
  const auto asked =
      static_cast<uint64_t>(line.argument_count() == 2 ? parse_offset(line.word(2)) : kSector);
  BlockDevice& device = session.image();
  const uint64_t size = device.size();
  const uint64_t length = offset >= size ? 0 : std::min(asked, size - offset);
  uint64_t sum = 0;
  try {
    sum = session.run(allocated_bytes(device, offset, length));
  } catch (const Error& error) {
    throw failure_of("is_allocated", error);
  }
  print(fmt::format("{}/{} bytes allocated at offset {}\n", sum, length,
                    amount_text(static_cast<double>(offset))));
}

void run_map(Session& session, CommandLine&) {
  try {
    session.run(print_map(session.image()));
  } catch (const Error& error) {
    throw error.with_prefix("Failed to get allocation status");
  }
}

}  // namespace byre::cli::io
