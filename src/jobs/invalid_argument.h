// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <string>
#include <utility>

#include "byre/error.h"

namespace byre::jobs {

// For what a job was asked to do.
inline Error invalid_argument(ErrorData data, std::string sentence) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(data), std::move(sentence));
}

}  // namespace byre::jobs
