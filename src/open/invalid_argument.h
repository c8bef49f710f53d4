// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cerrno>
#include <string>
#include <utility>

#include "byre/error.h"

namespace byre::open {

// For what the user asked for, with QEMU's words as the message.
inline Error invalid_argument(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

}  // namespace byre::open
