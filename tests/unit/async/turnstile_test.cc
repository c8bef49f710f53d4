// SPDX-License-Identifier: Apache-2.0
#include "async/turnstile.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

#include "async/when_all.h"

namespace byre {
namespace {

struct Arrival {
  uint64_t yields;
  bool gives_up = false;
};

Task<void> go_through(Turnstile& turnstile, Arrival arrival, std::vector<uint64_t>& order) {
  Turnstile::Ticket ticket = turnstile.take();
  for (uint64_t i = 0; i < arrival.yields; ++i) co_await Loop::current().yield();
  if (arrival.gives_up) throw std::runtime_error("given up");
  co_await ticket.turn();
  co_await Loop::current().yield();
  order.push_back(ticket.number());
  ticket.pass();
  co_await Loop::current().yield();
}

TEST(Turnstile, TicketsGoThroughInOrderHoweverTheyArrive) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Loop loop({.seed = seed});
    Turnstile turnstile;
    std::vector<uint64_t> order;
    std::vector<Task<void>> tasks;
    for (uint64_t i = 0; i < 10; ++i) {
      tasks.push_back(go_through(turnstile, {(i * 7 + seed) % 10}, order));
    }
    loop.run(when_all(std::move(tasks)));
    EXPECT_EQ(order, (std::vector<uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})) << seed;
    EXPECT_FALSE(turnstile.is_in_use());
  }
}

TEST(Turnstile, ATicketThatIsGivenUpBeforeItsTurnHoldsUpNobody) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Loop loop({.seed = seed});
    Turnstile turnstile;
    std::vector<uint64_t> order;
    std::vector<Task<void>> tasks;
    for (uint64_t i = 0; i < 10; ++i) {
      tasks.push_back(go_through(turnstile, {(i * 7 + seed) % 10, i % 3 == 0}, order));
    }
    EXPECT_THROW(loop.run(when_all(std::move(tasks))), std::runtime_error);
    EXPECT_EQ(order, (std::vector<uint64_t>{1, 2, 4, 5, 7, 8})) << seed;
    EXPECT_FALSE(turnstile.is_in_use());
  }
}

}  // namespace
}  // namespace byre
