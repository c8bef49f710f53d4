// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Shared by the commands that make requests.
namespace byre::cli::io {

// Throws Error(EIO) unless the range is on the device, as QEMU checks before it calls its driver.
void check_inside(const BlockDevice& device, uint64_t offset, uint64_t length);

// "<what> failed: <errno's text>", with the error itself as the hint.
Refusal failure_of(const std::string& what, const Error& error);

// Runs a request and returns how long it took. Throws failure_of() its error.
std::chrono::nanoseconds run_timed(Session& session, const std::string& what, Task<void> request);

// The requests of a device, preceded by check_inside().
Task<void> checked_read(BlockDevice& device, uint64_t offset, ReadBuffers to);
Task<void> checked_write(BlockDevice& device, uint64_t offset, WriteBuffers from, WriteFlags flags);
// Writes whole clusters, one at a time. Throws Error(EINVAL) unless the range consists of whole
// clusters, or ends at the disk's end; Error(ENOTSUP) if the device cannot compress.
Task<void> checked_compressed_write(BlockDevice& device, uint64_t offset, WriteBuffers from);
Task<void> checked_zeroes(BlockDevice& device, uint64_t offset, uint64_t length, WriteFlags flags);
Task<void> checked_discard(BlockDevice& device, uint64_t offset, uint64_t length);

// One segment of memory for each length, consecutive in `memory`.
ReadBuffers segments_of(Bytes memory, const std::vector<uint64_t>& lengths);
uint64_t total_of(const std::vector<uint64_t>& lengths);

// "Pattern verification failed at offset <offset>, <length> bytes", with a line end.
std::string pattern_failure(uint64_t offset, uint64_t length);

}  // namespace byre::cli::io
