// SPDX-License-Identifier: Apache-2.0
#include "storage/io_backend.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include "byre/error.h"

namespace byre::storage {

std::optional<IoBackend> parse_io_backend(std::string_view name) {
  if (name == "auto") return IoBackend::kAuto;
  if (name == "uring") return IoBackend::kUring;
  if (name == "threads") return IoBackend::kThreads;
  return std::nullopt;
}

IoEnvironment io_environment() {
  IoEnvironment result;
  const char* value = std::getenv("BYRE_IO");
  if (value == nullptr || *value == '\0') return result;
  std::string_view name = value;
  constexpr std::string_view kNoCache = ",nocache";
  if (name.ends_with(kNoCache)) {
    result.inline_io = false;
    name.remove_suffix(kNoCache.size());
  }
  const std::optional<IoBackend> backend = parse_io_backend(name);
  if (!backend) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "file-io-backend-unknown", .text = value, .name = "BYRE_IO"},
                "BYRE_IO must be 'auto', 'uring' or 'threads', with or without ',nocache', not '" +
                    std::string(value) + "'");
  }
  result.backend = *backend;
  return result;
}

}  // namespace byre::storage
