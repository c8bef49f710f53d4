// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/check.h"

#include <optional>

#include "qcow2/check/pass.h"

namespace byre::qcow2 {

Task<CheckResult> check(CheckSubject subject, CheckOptions options) {
  CheckPass pass(std::move(subject), &options);
  std::optional<Error> failure;
  try {
    co_await pass.count();
    co_await pass.compare();
    co_await pass.check_copied();
    co_return pass.result();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    failure = end_of_check(error);
  }
  throw *failure;
}

}  // namespace byre::qcow2
