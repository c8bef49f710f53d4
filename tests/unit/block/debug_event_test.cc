// SPDX-License-Identifier: Apache-2.0
#include "block/debug_event.h"

#include <gtest/gtest.h>

#include <vector>

#include "async/loop.h"
#include "async/when_all.h"

namespace byre {
namespace {

TEST(DebugEvent, EveryEventIsFoundByItsName) {
  for (size_t i = 0; i < kDebugEventCount; ++i) {
    const auto event = static_cast<DebugEvent>(i);
    EXPECT_EQ(parse_debug_event(debug_event_name(event)), event);
  }
  EXPECT_STREQ(debug_event_name(DebugEvent::kL1Update), "l1_update");
  EXPECT_STREQ(debug_event_name(DebugEvent::kPwritevRmwAfterTail), "pwritev_rmw_after_tail");
  EXPECT_STREQ(debug_event_name(DebugEvent::kNone), "none");
  EXPECT_EQ(parse_debug_event("l1_grow.alloc_table"), std::nullopt);
  EXPECT_EQ(parse_debug_event(""), std::nullopt);
}

// Suspends every request that raises kCowRead.
class Recorder : public DebugListener {
 public:
  bool on_event(DebugEvent event) override {
    events.push_back(event);
    return event == DebugEvent::kCowRead;
  }
  void suspend(Waiter* request) override { suspended = request; }
  void note_event(DebugEvent event) override { events.push_back(event); }
  void add_breakpoint(DebugEvent, std::string) override {}
  bool remove_breakpoint(std::string_view) override { return false; }
  bool resume(std::string_view) override {
    Loop::current().schedule(suspended);
    return true;
  }
  bool is_suspended(std::string_view) const override { return suspended != nullptr; }

  std::vector<DebugEvent> events;
  Waiter* suspended = nullptr;
};

Task<void> raise(const DebugEvents* events, std::vector<int>* steps) {
  co_await events->raise(DebugEvent::kL2Load);
  steps->push_back(1);
  co_await events->raise(DebugEvent::kCowRead);
  steps->push_back(2);
  events->note(DebugEvent::kFlushToOs);
}

TEST(DebugEvent, NobodyNeedListen) {
  const DebugEvents events;
  std::vector<int> steps;
  sync_wait(raise(&events, &steps));
  EXPECT_EQ(steps, (std::vector<int>{1, 2}));
}

Task<void> resume_later(Recorder* recorder) {
  while (!recorder->is_suspended("")) co_await Loop::current().yield();
  recorder->resume("");
}

TEST(DebugEvent, ARequestWaitsUntilTheListenerLetsItGo) {
  Recorder recorder;
  const DebugEvents events(&recorder);
  std::vector<int> steps;
  Loop loop;
  std::vector<Task<void>> both;
  both.push_back(raise(&events, &steps));
  both.push_back(resume_later(&recorder));
  loop.run(when_all(std::move(both)));
  EXPECT_EQ(steps, (std::vector<int>{1, 2}));
  EXPECT_EQ(recorder.events, (std::vector<DebugEvent>{DebugEvent::kL2Load, DebugEvent::kCowRead,
                                                      DebugEvent::kFlushToOs}));
}

}  // namespace
}  // namespace byre
