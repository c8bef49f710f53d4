// SPDX-License-Identifier: Apache-2.0
#include "async/gate.h"

namespace byre::task_detail {

void enter(Gate* gate) {
  ++gate->count_;
}

void leave(Gate* gate) noexcept {
  gate->leave();
}

}  // namespace byre::task_detail
