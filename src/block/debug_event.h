// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "async/task.h"
#include "async/waiter.h"

namespace byre {

// Points in the operation of a device at which a fault injector below it may act. Names and order
// are those of QEMU's BlkdebugEvent.
enum class DebugEvent : uint8_t {
  kL1Update,
  kL1GrowAllocTable,
  kL1GrowWriteTable,
  kL1GrowActivateTable,
  kL2Load,
  kL2Update,
  kL2UpdateCompressed,
  kL2AllocCowRead,
  kL2AllocWrite,
  kReadAio,
  kReadBackingAio,
  kReadCompressed,
  kWriteAio,
  kWriteCompressed,
  kVmstateLoad,
  kVmstateSave,
  kCowRead,
  kCowWrite,
  kReftableLoad,
  kReftableGrow,
  kReftableUpdate,
  kRefblockLoad,
  kRefblockUpdate,
  kRefblockUpdatePart,
  kRefblockAlloc,
  kRefblockAllocHookup,
  kRefblockAllocWrite,
  kRefblockAllocWriteBlocks,
  kRefblockAllocWriteTable,
  kRefblockAllocSwitchTable,
  kClusterAlloc,
  kClusterAllocBytes,
  kClusterFree,
  kFlushToOs,
  kFlushToDisk,
  kPwritevRmwHead,
  kPwritevRmwAfterHead,
  kPwritevRmwTail,
  kPwritevRmwAfterTail,
  kPwritev,
  kPwritevZero,
  kPwritevDone,
  kEmptyImagePrepare,
  kL1ShrinkWriteTable,
  kL1ShrinkFreeL2Clusters,
  kCorWrite,
  kClusterAllocSpace,
  kNone,  // a blkdebug device was opened
};
inline constexpr size_t kDebugEventCount = 48;

// "l1_update", ...
const char* debug_event_name(DebugEvent event);
std::optional<DebugEvent> parse_debug_event(std::string_view name);

// Receives the events of the device above it: blkdebug. Breakpoints are those of qemu-io.
class DebugListener {
 public:
  virtual ~DebugListener() = default;
  // Applies rules and changes states. True: the request that raised the event must wait, and
  // suspend() is called next.
  virtual bool on_event(DebugEvent event) = 0;
  // Suspends the request until it is resumed.
  virtual void suspend(Waiter* request) = 0;
  // The same where no request can wait: breakpoints are not changed.
  virtual void note_event(DebugEvent event) = 0;

  // The next request that raises the event waits, under this tag. Tags need not be unique.
  virtual void add_breakpoint(DebugEvent event, std::string tag) = 0;
  // Removes the breakpoints with the tag and resumes all requests that wait under it. False if
  // there was neither.
  virtual bool remove_breakpoint(std::string_view tag) = 0;
  // Resumes one request that waits under the tag. False if none does.
  virtual bool resume(std::string_view tag) = 0;
  virtual bool is_suspended(std::string_view tag) const = 0;
};

// What a device holds to raise its events; costs one comparison if there is no listener, and never
// a coroutine:
//
//   co_await events.raise(DebugEvent::kL2Load);
class DebugEvents {
 public:
  DebugEvents() = default;
  // The listener may be nullptr; it outlives the device that raises the events.
  explicit DebugEvents(DebugListener* listener) : listener_(listener) {}

  bool has_listener() const { return listener_ != nullptr; }

  auto raise(DebugEvent event) const {
    struct Awaiter {
      DebugListener* listener;
      DebugEvent event;
      Waiter waiter = {};
      bool await_ready() const { return listener == nullptr || !listener->on_event(event); }
      void await_suspend(std::coroutine_handle<> self) {
        waiter.coroutine = self;
        listener->suspend(&waiter);
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{listener_, event};
  }
  // Where there is no coroutine to suspend: breakpoints have no effect here.
  void note(DebugEvent event) const {
    if (listener_ != nullptr) listener_->note_event(event);
  }

 private:
  DebugListener* listener_ = nullptr;
};

// Raises an event, then runs the operation; without a listener this is not a coroutine.
Task<void> raise_and_do(DebugEvents events, DebugEvent event, Task<void> next);

}  // namespace byre
