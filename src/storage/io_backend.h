// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

namespace byre::storage {

// What performs the transfers that would block. Decision 0004 has the measurements for kAuto.
enum class IoBackend {
  kAuto,     // io_uring if the host allows it, else worker threads
  kUring,    // io_uring; opening fails if the host refuses it
  kThreads,  // worker threads
};

// "auto", "uring", "threads"; nothing for any other.
std::optional<IoBackend> parse_io_backend(std::string_view name);

// The setting of the environment, for files that were opened with kAuto:
// BYRE_IO=auto|uring|threads. With ",nocache" appended no transfer is tried inline, so that every
// one takes the path of transfers that block; tests use that. Throws Error(kInvalidArgument) for
// any other value.
struct IoEnvironment {
  IoBackend backend = IoBackend::kAuto;
  bool inline_io = true;
};
IoEnvironment io_environment();

}  // namespace byre::storage
