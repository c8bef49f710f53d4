// SPDX-License-Identifier: Apache-2.0
#include "filter/blkdebug.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "async/loop.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

namespace byre::filter {
namespace {

using byre::test::pattern;
using Contents = std::vector<uint8_t>;

BlkdebugRule inject(DebugEvent event) {
  BlkdebugRule rule;
  rule.event = event;
  return rule;
}

// Blkdebug on top of a device that keeps a record, on top of memory.
struct Bed {
  explicit Bed(BlkdebugOptions options) {
    auto memory = std::make_unique<storage::MemoryDevice>(ConstBytes(pattern(0, 65536, 1)));
    auto recorder = std::make_unique<faults::FaultDevice>(std::move(memory));
    record = recorder.get();
    options.on_message = [this](const std::string& text) { messages += text; };
    device = std::make_unique<Blkdebug>(std::move(recorder), std::move(options));
  }
  int read(uint64_t offset, size_t length) {
    Contents bytes(length);
    return failure(device->read(offset, Bytes(bytes)));
  }
  int write(uint64_t offset, size_t length) {
    const Contents bytes = pattern(offset, length, 2);
    return failure(device->write(offset, ConstBytes(bytes)));
  }
  // 0, or the errno.
  static int failure(Task<void> task) {
    try {
      sync_wait(std::move(task));
      return 0;
    } catch (const Error& error) {
      return error.errno_value();
    }
  }

  faults::FaultDevice* record;
  std::string messages;
  std::unique_ptr<Blkdebug> device;
};

TEST(Blkdebug, PassesRequestsOn) {
  Bed bed({});
  EXPECT_EQ(bed.write(100, 50), 0);
  Contents bytes(60);
  sync_wait(bed.device->read(95, Bytes(bytes)));
  Contents want = pattern(95, 60, 1);
  const Contents written = pattern(100, 50, 2);
  std::copy(written.begin(), written.end(), want.begin() + 5);
  EXPECT_EQ(bytes, want);
  EXPECT_EQ(bed.failure(bed.device->write_zeroes(0, 512, WriteFlags::kNone)), 0);
  EXPECT_EQ(bed.failure(bed.device->discard(0, 512)), 0);
  EXPECT_EQ(bed.failure(bed.device->flush()), 0);
  EXPECT_STREQ(bed.device->driver(), "blkdebug");
  EXPECT_EQ(bed.device->allocated_size(), std::nullopt);
  EXPECT_EQ(find_debug_listener(*bed.device), bed.device.get());
}

TEST(Blkdebug, RequestsFailFromTheEventOnUntilOneWithAnotherRule) {
  BlkdebugRule full = inject(DebugEvent::kWriteAio);
  full.errno_value = ENOSPC;
  Bed bed({.rules = {inject(DebugEvent::kReadAio), full}});
  EXPECT_EQ(bed.read(0, 512), 0);
  bed.device->note_event(DebugEvent::kReadAio);
  EXPECT_EQ(bed.read(0, 512), EIO);
  EXPECT_EQ(bed.write(0, 512), EIO);
  EXPECT_EQ(bed.failure(bed.device->flush()), EIO);
  EXPECT_EQ(bed.failure(bed.device->discard(0, 512)), EIO);
  EXPECT_EQ(bed.failure(bed.device->write_zeroes(0, 512, WriteFlags::kNone)), EIO);
  EXPECT_FALSE(sync_wait(bed.device->extents(0, 512, ExtentScope::kLayer)).empty());
  bed.device->note_event(DebugEvent::kL2Load);  // without a rule
  EXPECT_EQ(bed.read(0, 512), EIO);
  bed.device->note_event(DebugEvent::kWriteAio);
  EXPECT_EQ(bed.read(0, 512), ENOSPC);
}

TEST(Blkdebug, ARuleMayPickAKindAndASectorAndBeUsedOnce) {
  BlkdebugRule rule = inject(DebugEvent::kNone);
  rule.kinds = kWriteRequest;
  rule.offset = 1024;
  rule.once = true;
  rule.immediately = true;
  Bed bed({.rules = {rule}});
  EXPECT_EQ(bed.read(1024, 512), 0);
  EXPECT_EQ(bed.write(0, 1024), 0);
  EXPECT_EQ(bed.write(1536, 512), 0);
  EXPECT_EQ(bed.write(512, 1024), EIO);
  EXPECT_EQ(bed.write(512, 1024), 0);
}

TEST(Blkdebug, TheFirstRuleOfAnEventComesFirst) {
  BlkdebugRule first = inject(DebugEvent::kReadAio);
  first.once = true;
  BlkdebugRule second = inject(DebugEvent::kReadAio);
  second.errno_value = ENOSPC;
  Bed bed({.rules = {first, second}});
  bed.device->note_event(DebugEvent::kReadAio);
  EXPECT_EQ(bed.read(0, 512), EIO);
  bed.device->note_event(DebugEvent::kReadAio);
  EXPECT_EQ(bed.read(0, 512), ENOSPC);
  EXPECT_EQ(bed.read(0, 512), ENOSPC);
}

TEST(Blkdebug, AnErrnoOfZeroLetsTheRequestThrough) {
  BlkdebugRule rule = inject(DebugEvent::kNone);
  rule.errno_value = 0;
  Bed bed({.rules = {rule}});
  EXPECT_EQ(bed.read(0, 512), 0);
}

TEST(Blkdebug, BlockStatusFailsWhereARuleSaysSo) {
  BlkdebugRule rule = inject(DebugEvent::kNone);
  rule.kinds = kBlockStatusRequest;
  Bed bed({.rules = {rule}});
  EXPECT_THROW(sync_wait(bed.device->extents(0, 512, ExtentScope::kLayer)), Error);
  EXPECT_EQ(bed.read(0, 512), 0);
}

TEST(Blkdebug, StatesDecideWhichRulesCount) {
  BlkdebugRule second = inject(DebugEvent::kWriteAio);
  second.state = 2;
  BlkdebugRule step = inject(DebugEvent::kWriteAio);
  step.action = BlkdebugRule::Action::kSetState;
  step.state = 1;
  step.new_state = 2;
  Bed bed({.rules = {second, step}});
  EXPECT_EQ(bed.device->state(), 1);
  bed.device->note_event(DebugEvent::kWriteAio);
  EXPECT_EQ(bed.device->state(), 2);
  EXPECT_EQ(bed.write(0, 512), 0);
  bed.device->note_event(DebugEvent::kWriteAio);
  EXPECT_EQ(bed.write(0, 512), EIO);
}

Task<void> raise(Blkdebug* device, DebugEvent event, int* steps) {
  const DebugEvents events(device);
  co_await events.raise(event);
  ++*steps;
}

Task<void> resume_when_both_wait(Blkdebug* device, int* steps, int* before) {
  while (!device->is_suspended("A")) co_await Loop::current().yield();
  for (int i = 0; i < 5; ++i) co_await Loop::current().yield();
  *before = *steps;
  EXPECT_TRUE(device->resume("A"));
  EXPECT_FALSE(device->resume("A"));
}

TEST(Blkdebug, ABreakpointHoldsOneRequestUntilItIsResumed) {
  Bed bed({});
  bed.device->add_breakpoint(DebugEvent::kCowRead, "A");
  int steps = 0;
  int before = -1;
  Loop loop;
  std::vector<Task<void>> tasks;
  tasks.push_back(raise(bed.device.get(), DebugEvent::kCowRead, &steps));
  tasks.push_back(raise(bed.device.get(), DebugEvent::kCowRead, &steps));
  tasks.push_back(resume_when_both_wait(bed.device.get(), &steps, &before));
  loop.run(when_all(std::move(tasks)));
  EXPECT_EQ(before, 1);
  EXPECT_EQ(steps, 2);
  EXPECT_EQ(bed.messages, "blkdebug: Suspended request 'A'\nblkdebug: Resuming request 'A'\n");
}

Task<void> remove_when_it_waits(Blkdebug* device) {
  while (!device->is_suspended("A")) co_await Loop::current().yield();
  // The breakpoint is gone, the request continues.
  EXPECT_FALSE(device->remove_breakpoint("A"));
}

TEST(Blkdebug, RemovingABreakpointLetsItsRequestsGo) {
  Bed bed({});
  bed.device->add_breakpoint(DebugEvent::kCowRead, "B");
  EXPECT_TRUE(bed.device->remove_breakpoint("B"));
  EXPECT_FALSE(bed.device->remove_breakpoint("B"));
  bed.device->add_breakpoint(DebugEvent::kCowRead, "A");
  int steps = 0;
  Loop loop;
  std::vector<Task<void>> tasks;
  tasks.push_back(raise(bed.device.get(), DebugEvent::kCowRead, &steps));
  tasks.push_back(remove_when_it_waits(bed.device.get()));
  loop.run(when_all(std::move(tasks)));
  EXPECT_EQ(steps, 1);
}

TEST(Blkdebug, WhatCannotWaitIgnoresBreakpoints) {
  Bed bed({});
  bed.device->add_breakpoint(DebugEvent::kCowRead, "A");
  bed.device->note_event(DebugEvent::kCowRead);
  EXPECT_FALSE(bed.device->is_suspended("A"));
  EXPECT_TRUE(bed.device->remove_breakpoint("A"));
}

TEST(Blkdebug, LimitsCutRequestsIntoPieces) {
  Bed bed({.align = 512,
           .max_transfer = 4096,
           .max_write_zero = 8192,
           .opt_write_zero = 1024,
           .max_discard = 2048,
           .opt_discard = 2048});
  EXPECT_EQ(bed.device->limits().request_alignment, 512u);
  EXPECT_EQ(bed.device->limits().transfer_max, 0u);  // it splits requests itself
  EXPECT_EQ(bed.read(512, 8192), 0);
  EXPECT_EQ(bed.record->count(faults::Operation::kRead), 2u);
  EXPECT_EQ(bed.write(0, 16384), 0);
  EXPECT_EQ(bed.record->count(faults::Operation::kWrite), 4u);
  EXPECT_EQ(bed.failure(bed.device->write_zeroes(0, 16384, WriteFlags::kNone)), 0);
  EXPECT_EQ(bed.record->count(faults::Operation::kWriteZeroes), 2u);
  EXPECT_EQ(bed.failure(bed.device->write_zeroes(0, 512, WriteFlags::kNoFallback)), ENOTSUP);
  EXPECT_EQ(bed.failure(bed.device->discard(0, 5120)), 0);
  EXPECT_EQ(bed.record->count(faults::Operation::kDiscard), 3u);
}

TEST(Blkdebug, WhatADiskLikesToDiscardIsNoBoundOfWhatIsDiscarded) {
  Bed bed({.align = 512, .opt_discard = 1536});
  bed.record->clear_events();
  for (const auto& [offset, length] :
       std::vector<std::pair<uint64_t, uint64_t>>{{0, 512}, {512, 3072}, {1536, 3072}, {0, 100}}) {
    EXPECT_EQ(bed.failure(bed.device->discard(offset, length)), 0);
  }
  std::vector<std::pair<uint64_t, uint64_t>> passed;
  for (const faults::FaultEvent& event : bed.record->events()) {
    passed.emplace_back(event.offset, event.length);
  }
  EXPECT_EQ(passed, (std::vector<std::pair<uint64_t, uint64_t>>{
                        {0, 512}, {512, 1024}, {1536, 1536}, {3072, 512}, {1536, 3072}}));
}

TEST(Blkdebug, AWriteOfAPartOfABlockReadsTheBlock) {
  BlkdebugRule rule = inject(DebugEvent::kPwritevRmwHead);
  rule.kinds = kReadRequest;
  Bed bed({.rules = {rule}, .align = 4096});
  EXPECT_EQ(bed.write(0, 4096), 0);
  EXPECT_EQ(bed.write(512, 512), EIO);
  BlkdebugRule tail = inject(DebugEvent::kPwritevRmwTail);
  tail.kinds = kReadRequest;
  tail.offset = 4096;
  Bed other({.rules = {tail}, .align = 4096});
  EXPECT_EQ(other.write(0, 512), 0);
  EXPECT_EQ(other.write(0, 4608), EIO);
}

}  // namespace
}  // namespace byre::filter
