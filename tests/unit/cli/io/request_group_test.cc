// SPDX-License-Identifier: Apache-2.0
#include "cli/io/request_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <vector>

namespace byre::cli::io {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

Task<void> sleep_and_note(milliseconds duration, int number, std::vector<int>* notes) {
  co_await Loop::current().sleep_for(duration);
  notes->push_back(number);
}

TEST(RequestGroup, RequestsGoOnBesideOneAnotherAndAreAwaitedTogether) {
  Loop loop(Loop::Options{.seed = 1});
  RequestGroup group;
  std::vector<int> notes;
  loop.run(group.start(sleep_and_note(milliseconds(30), 1, &notes)));
  loop.run(group.start(sleep_and_note(milliseconds(10), 2, &notes)));
  loop.run(group.start(sleep_and_note(milliseconds(20), 3, &notes)));
  EXPECT_EQ(group.in_flight(), 3u);
  EXPECT_THAT(notes, ElementsAre());
  loop.run(group.wait_for_all());
  EXPECT_THAT(notes, ElementsAre(2, 3, 1));
  EXPECT_EQ(group.in_flight(), 0u);
}

TEST(RequestGroup, AnotherTaskOfTheLoopLetsThemGoOn) {
  Loop loop(Loop::Options{.seed = 1});
  RequestGroup group;
  std::vector<int> notes;
  loop.run(group.start(sleep_and_note(milliseconds(10), 1, &notes)));
  loop.run(sleep_and_note(milliseconds(20), 2, &notes));
  EXPECT_THAT(notes, ElementsAre(1, 2));
  loop.run(group.wait_for_all());
}

TEST(RequestGroup, AnErrorThatARequestDidNotReportIsThrownToTheOneThatWaits) {
  Loop loop(Loop::Options{.seed = 1});
  RequestGroup group;
  std::vector<int> notes;
  const auto fail = [](milliseconds duration) -> Task<void> {
    co_await Loop::current().sleep_for(duration);
    throw std::bad_alloc();
  };
  loop.run(group.start(fail(milliseconds(10))));
  loop.run(group.start(sleep_and_note(milliseconds(20), 1, &notes)));
  EXPECT_THROW(loop.run(group.wait_for_all()), std::bad_alloc);
  EXPECT_THAT(notes, ElementsAre(1));
  loop.run(group.wait_for_all());
}

TEST(RequestGroup, WithoutRequestsThereIsNothingToWaitFor) {
  Loop loop;
  RequestGroup group;
  loop.run(group.wait_for_all());
  EXPECT_EQ(group.in_flight(), 0u);
}

}  // namespace
}  // namespace byre::cli::io
