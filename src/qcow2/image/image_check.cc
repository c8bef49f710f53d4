// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/image_check.h"

#include <utility>

namespace byre::qcow2 {

CheckSubject subject_of(Image& image) {
  return {.file = &image.file(), .header = image.header(), .extensions = image.extensions()};
}

Task<CheckResult> check(Image& image, CheckOptions options) {
  CheckSubject subject = subject_of(image);
  co_return co_await check(std::move(subject), std::move(options));
}

Task<RepairResult> repair(Image& image, RepairOptions options) {
  CheckSubject subject = subject_of(image);
  co_return co_await repair(std::move(subject), std::move(options));
}

}  // namespace byre::qcow2
