// SPDX-License-Identifier: Apache-2.0
#include "qcow2/checker.h"

#include <optional>

#include "qcow2/checker_pass.h"

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
    failure = without_words(error);
  }
  throw *failure;
}

CheckSubject subject_of(Image& image) {
  return {.file = &image.file(), .header = image.header(), .extensions = image.extensions()};
}

Task<CheckResult> check(Image& image, CheckOptions options) {
  CheckSubject subject = subject_of(image);
  co_return co_await check(std::move(subject), std::move(options));
}

}  // namespace byre::qcow2
