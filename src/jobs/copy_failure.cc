// SPDX-License-Identifier: Apache-2.0
#include "jobs/copy_failure.h"

#include <string>
#include <utility>

namespace byre::jobs {

Error failure_at(ErrorData data, std::string_view what, const Error& error) {
  if (error.kind() == ErrorKind::kCancelled) return error;
  std::string sentence(what);
  sentence += " offset ";
  sentence += std::to_string(data.offset.value_or(0));
  sentence += ": ";
  sentence += error.message();
  return Error(error.kind(), error.errno_value(), std::move(data), std::move(sentence))
      .with_hint(error.hint());
}

Error failure_as(Literal code, const Error& error) {
  if (error.kind() == ErrorKind::kCancelled) return error;
  ErrorData data = error.data();
  data.code = code;
  return Error(error.kind(), error.errno_value(), std::move(data), error.sentence())
      .with_hint(error.hint());
}

}  // namespace byre::jobs
