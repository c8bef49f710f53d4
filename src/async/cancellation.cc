// SPDX-License-Identifier: Apache-2.0
#include "async/cancellation.h"

#include <cerrno>

namespace byre {

void Cancellation::check() const {
  if (is_requested()) throw Error(ErrorKind::kCancelled, ECANCELED, "Operation cancelled");
}

}  // namespace byre
