// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "block/debug_event.h"

namespace byre::filter {

// The kind of a request, for rules that select some kinds of requests; bits of a mask.
enum RequestKind : uint8_t {
  kReadRequest = 1,
  kWriteRequest = 2,
  kWriteZeroesRequest = 4,
  kDiscardRequest = 8,
  kFlushRequest = 16,
  kBlockStatusRequest = 32,
};
// "read", "write", "write-zeroes", "discard", "flush", "block-status".
std::optional<RequestKind> parse_request_kind(std::string_view name);

// A rule of blkdebug, as specified by its options and its rules file: what is done when an event is
// raised while the device is in a state.
struct BlkdebugRule {
  enum class Action : uint8_t {
    kInjectError,  // requests fail from now on, until an event with such a rule is raised again
    kSetState,
    kSuspend,  // a breakpoint: the request waits; the rule is used once
  };

  Action action = Action::kInjectError;
  DebugEvent event = DebugEvent::kNone;
  int state = 0;  // 0: any

  int errno_value = 5;  // EIO; 0: the request succeeds
  // Every kind but block status, which callers do not expect to fail.
  uint8_t kinds =
      kReadRequest | kWriteRequest | kWriteZeroesRequest | kDiscardRequest | kFlushRequest;
  std::optional<uint64_t> offset;  // in bytes: only requests that touch this byte
  bool once = false;               // for one request
  bool immediately = false;        // before any other coroutine has run

  int new_state = 0;
  std::string tag;
};

}  // namespace byre::filter
