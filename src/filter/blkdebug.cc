// SPDX-License-Identifier: Apache-2.0
#include "filter/blkdebug.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "async/loop.h"
#include "base/checked.h"
#include "byre/error.h"

namespace byre::filter {

namespace {

bool picks(const BlkdebugRule& rule, RequestKind kind, uint64_t offset, uint64_t length) {
  if ((rule.kinds & kind) == 0) return false;
  return !rule.offset || (*rule.offset >= offset && *rule.offset - offset < length);
}

}  // namespace

Blkdebug::Blkdebug(std::unique_ptr<BlockDevice> below, BlkdebugOptions options)
    : FilterDevice(std::move(below), options.filename),
      options_(std::move(options)),
      limits_(FilterDevice::limits()),
      align_(std::max<uint64_t>(options_.align, 1)),
      rules_(std::move(options_.rules)) {
  limits_.request_alignment = std::max<uint32_t>(limits_.request_alignment, options_.align);
  limits_.transfer_max = 0;
  for (const uint64_t limit :
       {options_.max_transfer, options_.max_write_zero, options_.opt_write_zero,
        options_.max_discard, options_.opt_discard}) {
    BYRE_ASSERT(is_aligned(limit));
  }
  follow(DebugEvent::kNone, false);
}

// Rules: what happens at events.

void Blkdebug::follow(DebugEvent event, bool may_suspend) {
  const int state = state_;
  bool is_first_error = true;
  std::vector<size_t> used;
  for (size_t i = 0; i < rules_.size(); ++i) {
    const BlkdebugRule& rule = rules_[i];
    if (rule.event != event || (rule.state != 0 && rule.state != state)) continue;
    switch (rule.action) {
      case BlkdebugRule::Action::kInjectError:
        if (std::exchange(is_first_error, false)) active_.clear();
        active_.push_back({rule, i});
        break;
      case BlkdebugRule::Action::kSetState:
        state_ = rule.new_state;
        break;
      case BlkdebugRule::Action::kSuspend:
        if (!may_suspend) break;
        suspending_.push_back(rule.tag);
        used.push_back(i);
        break;
    }
  }
  for (auto index = used.rbegin(); index != used.rend(); ++index) remove_rule(*index);
}

void Blkdebug::remove_rule(size_t index) {
  rules_.erase(rules_.begin() + static_cast<ptrdiff_t>(index));
  std::erase_if(active_, [index](const ActiveRule& each) { return each.index == index; });
  for (ActiveRule& each : active_) {
    if (each.index > index) --each.index;
  }
}

bool Blkdebug::on_event(DebugEvent event) {
  follow(event, true);
  for (const std::string& tag : suspending_) tell("Suspended", tag);
  return !suspending_.empty();
}

void Blkdebug::note_event(DebugEvent event) {
  follow(event, false);
}

void Blkdebug::suspend(Waiter* request) {
  waiting_.push_back({request, std::exchange(suspending_, {})});
}

void Blkdebug::add_breakpoint(DebugEvent event, std::string tag) {
  BlkdebugRule rule;
  rule.action = BlkdebugRule::Action::kSuspend;
  rule.event = event;
  rule.tag = std::move(tag);
  rules_.push_back(std::move(rule));
}

bool Blkdebug::remove_breakpoint(std::string_view tag) {
  bool found = false;
  for (size_t i = rules_.size(); i-- > 0;) {
    if (rules_[i].action != BlkdebugRule::Action::kSuspend || rules_[i].tag != tag) continue;
    remove_rule(i);
    found = true;
  }
  while (resume(tag)) {
  }
  return found;
}

bool Blkdebug::resume(std::string_view tag) {
  for (auto waiting = waiting_.begin(); waiting != waiting_.end(); ++waiting) {
    const auto found = std::ranges::find(waiting->tags, tag);
    if (found == waiting->tags.end()) continue;
    tell("Resuming", *found);
    waiting->tags.erase(found);
    if (!waiting->tags.empty()) return true;
    Loop::current().schedule(waiting->request);
    waiting_.erase(waiting);
    return true;
  }
  return false;
}

bool Blkdebug::is_suspended(std::string_view tag) const {
  return std::ranges::any_of(waiting_, [tag](const Waiting& each) {
    return std::ranges::find(each.tags, tag) != each.tags.end();
  });
}

void Blkdebug::tell(const char* what, const std::string& tag) const {
  if (options_.on_message)
    options_.on_message(fmt::format("blkdebug: {} request '{}'\n", what, tag));
}

// Requests.

Task<void> Blkdebug::check(RequestKind kind, uint64_t offset, uint64_t length) {
  const auto found = std::ranges::find_if(
      active_, [&](const ActiveRule& each) { return picks(each.rule, kind, offset, length); });
  if (found == active_.end() || found->rule.errno_value == 0) co_return;
  const BlkdebugRule rule = found->rule;
  if (rule.once) {
    const size_t index = found->index;
    remove_rule(index);
  }
  if (!rule.immediately) co_await Loop::current().yield();
  throw Error(Error::kind_of(rule.errno_value), rule.errno_value,
              ErrorData{.code = "blkdebug-injected", .offset = offset, .file = filename()},
              "error injected by a blkdebug rule: " + errno_text(rule.errno_value));
}

Task<void> Blkdebug::check_blocks(RequestKind kind, uint64_t offset, uint64_t length) {
  const uint64_t start = align_down(offset, align_);
  const uint64_t end = offset + length;
  const uint64_t whole_end = end > UINT64_MAX - align_ ? end : align_up(end, align_);
  return check(kind, start, whole_end - start);
}

uint64_t Blkdebug::piece(uint64_t offset, uint64_t left, uint64_t max) const {
  if (max == 0) return left;
  return std::min(left, max - offset % align_);
}

Task<void> Blkdebug::check_edges(uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  const uint64_t head = align_down(offset, align_);
  const uint64_t tail = align_down(end, align_);
  const bool has_head = !is_aligned(offset);
  const bool has_tail = !is_aligned(end);
  if (has_head) {
    co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwHead);
    // One read for both, if they are the same block.
    if (has_tail && head == tail) co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwTail);
    co_await check(kReadRequest, head, align_);
    co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwAfterHead);
    if (has_tail && head == tail) {
      co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwAfterTail);
      co_return;
    }
  }
  if (!has_tail) co_return;
  co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwTail);
  co_await check(kReadRequest, tail, align_);
  co_await DebugEvents(this).raise(DebugEvent::kPwritevRmwAfterTail);
}

Task<void> Blkdebug::do_read(uint64_t offset, ReadBuffers to) {
  uint64_t done = 0;
  while (done < to.size()) {
    const uint64_t place = offset + done;
    const uint64_t length = piece(place, to.size() - done, options_.max_transfer);
    co_await check_blocks(kReadRequest, place, length);
    const ReadBuffers part = to.slice(done, length);
    co_await below().read(place, part);
    done += length;
  }
}

Task<void> Blkdebug::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  co_await check_edges(offset, from.size());
  co_await DebugEvents(this).raise(DebugEvent::kPwritev);
  uint64_t done = 0;
  while (done < from.size()) {
    const uint64_t place = offset + done;
    const uint64_t length = piece(place, from.size() - done, options_.max_transfer);
    co_await check_blocks(kWriteRequest, place, length);
    const WriteBuffers part = from.slice(done, length);
    co_await below().write(place, part, flags);
    done += length;
  }
  co_await DebugEvents(this).raise(DebugEvent::kPwritevDone);
}

Task<void> Blkdebug::write_zero_piece(uint64_t offset, uint64_t length, WriteFlags flags) {
  const uint64_t min = std::max(align_, options_.opt_write_zero);
  const bool is_small = min > 1 && length < min;
  if (is_small && has_flag(flags, WriteFlags::kNoFallback)) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "blkdebug-zeroes-too-small",
                          .field = "length",
                          .value = length,
                          .bound = min,
                          .offset = offset,
                          .file = filename()},
                "the range is too small to be zeroed without writing data");
  }
  co_await check_blocks(is_small ? kWriteRequest : kWriteZeroesRequest, offset, length);
  co_await below().write_zeroes(offset, length, flags);
}

Task<void> Blkdebug::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  co_await check_edges(offset, length);
  co_await DebugEvents(this).raise(DebugEvent::kPwritevZero);
  uint64_t done = 0;
  while (done < length) {
    const uint64_t place = offset + done;
    const uint64_t part = piece(place, length - done, options_.max_write_zero);
    co_await write_zero_piece(place, part, flags);
    done += part;
  }
  co_await DebugEvents(this).raise(DebugEvent::kPwritevDone);
}

// The length of the first piece of a discard: a part that is not a multiple of the disk's preferred
// size is passed on separately, and it is up to the disk what it does with it.
uint64_t Blkdebug::discard_piece(uint64_t offset, uint64_t left) const {
  const uint64_t unit = std::max(align_, options_.opt_discard);
  const uint64_t head = offset % unit;
  uint64_t length = left;
  if (head != 0) {
    length = std::min(left, unit - head);
  } else if (left > unit) {
    length = left - left % unit;
  }
  return piece(offset, length, options_.max_discard);
}

// A discard is a hint: less than a block of the disk is left unchanged.
Task<void> Blkdebug::do_discard(uint64_t offset, uint64_t length) {
  uint64_t done = 0;
  while (done < length) {
    const uint64_t place = offset + done;
    const uint64_t part = discard_piece(place, length - done);
    if (part >= align_) {
      co_await check_blocks(kDiscardRequest, place, part);
      co_await below().discard(place, part);
    }
    done += part;
  }
}

Task<void> Blkdebug::do_flush() {
  co_await check(kFlushRequest, 0, 0);
  co_await below().flush();
}

Task<std::vector<Extent>> Blkdebug::do_extents(uint64_t offset, uint64_t length,
                                               ExtentScope scope) {
  co_await check(kBlockStatusRequest, offset, length);
  co_return co_await below().extents(offset, length, scope);
}

}  // namespace byre::filter
