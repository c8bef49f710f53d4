// SPDX-License-Identifier: Apache-2.0
#include "cli/io/request_group.h"

#include <utility>

namespace byre::cli::io {

Detached RequestGroup::run(RequestGroup* group, Task<void> request) {
  ++group->in_flight_;
  try {
    co_await std::move(request);
  } catch (...) {
    if (!group->error_) group->error_ = std::current_exception();
  }
  group->one_ended();
}

void RequestGroup::one_ended() {
  if (--in_flight_ == 0) Loop::current().schedule_all(&waiting_);
}

Task<void> RequestGroup::start(Task<void> request) {
  run(this, std::move(request));
  co_return;
}

Task<void> RequestGroup::wait_for_all() {
  struct Awaiter {
    RequestGroup* group;
    Waiter waiter = {};
    bool await_ready() const { return group->in_flight_ == 0; }
    void await_suspend(std::coroutine_handle<> self) { group->waiting_.push_back(&waiter, self); }
    void await_resume() const noexcept {}
  };
  while (in_flight_ > 0) co_await Awaiter{this};
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
}

}  // namespace byre::cli::io
