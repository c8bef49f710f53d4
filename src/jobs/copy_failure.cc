// SPDX-License-Identifier: Apache-2.0
#include "jobs/copy_failure.h"

#include <string>

namespace byre::jobs {

Error failure_at(std::string_view what, uint64_t offset, const Error& error,
                 std::string_view whose) {
  if (error.kind() == ErrorKind::kCancelled) return error;
  std::string message(what);
  message += std::to_string(offset);
  message += whose;
  message += ": ";
  message += errno_text(error.errno_value());
  std::string hint = error.message();
  if (!error.hint().empty()) {
    hint += ": ";
    hint += error.hint();
  }
  return Error(error.kind(), error.errno_value(), std::move(message), std::move(hint));
}

}  // namespace byre::jobs
