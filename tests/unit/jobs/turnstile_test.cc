// SPDX-License-Identifier: Apache-2.0
#include "jobs/turnstile.h"

#include <gtest/gtest.h>

#include <vector>

#include "async/when_all.h"

namespace byre::jobs {
namespace {

Task<void> go_through(Turnstile& turnstile, uint64_t ticket, uint64_t yields,
                      std::vector<uint64_t>& order) {
  for (uint64_t i = 0; i < yields; ++i) co_await Loop::current().yield();
  co_await turnstile.wait(ticket);
  order.push_back(ticket);
  turnstile.pass();
}

TEST(Turnstile, TicketsGoThroughInOrderHoweverTheyArrive) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Loop loop({.seed = seed});
    Turnstile turnstile;
    std::vector<uint64_t> order;
    std::vector<Task<void>> tasks;
    for (uint64_t ticket = 0; ticket < 10; ++ticket) {
      tasks.push_back(go_through(turnstile, ticket, (ticket * 7 + seed) % 10, order));
    }
    loop.run(when_all(std::move(tasks)));
    EXPECT_EQ(order, (std::vector<uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})) << seed;
  }
}

}  // namespace
}  // namespace byre::jobs
