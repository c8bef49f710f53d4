// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "filter/blkdebug_rule.h"
#include "filter/filter_device.h"

namespace byre::filter {

struct BlkdebugOptions {
  std::vector<BlkdebugRule> rules;
  // Limits on requests, like those of a disk that has them; 0: none. In bytes, each a multiple of
  // `align`, and a max_... one also of its opt_... one.
  uint32_t align = 0;  // a power of two
  uint64_t max_transfer = 0;
  uint64_t max_write_zero = 0;
  uint64_t opt_write_zero = 0;  // anything smaller is written as bytes
  uint64_t max_discard = 0;
  uint64_t opt_discard = 0;  // discards are split at its multiples
  std::string filename;      // empty: that of the device below
  // Receives QEMU's lines about requests that are suspended and resumed. May be empty.
  std::function<void(const std::string&)> on_message;
};

// QEMU's "blkdebug": a device that fails requests, changes its state and suspends requests
// according to rules, when the device above raises events. It passes everything else on, in pieces
// that respect its limits. For rules and events, an unaligned request counts as the aligned ones
// that a disk with such sectors would need; only its own bytes are passed on.
//
// Requests that are suspended when it is destroyed are never resumed.
class Blkdebug final : public FilterDevice, public DebugListener {
 public:
  Blkdebug(std::unique_ptr<BlockDevice> below, BlkdebugOptions options);

  const char* driver() const override { return "blkdebug"; }
  const Limits& limits() const override { return limits_; }

  // Unknown, as in QEMU.
  std::optional<uint64_t> allocated_size() const override { return std::nullopt; }
  std::vector<ChildDevice> children() const override { return {{"image", &below()}}; }
  DebugListener* debug_listener() override { return this; }

  bool on_event(DebugEvent event) override;
  void suspend(Waiter* request) override;
  void note_event(DebugEvent event) override;
  void add_breakpoint(DebugEvent event, std::string tag) override;
  bool remove_breakpoint(std::string_view tag) override;
  bool resume(std::string_view tag) override;
  bool is_suspended(std::string_view tag) const override;

  int state() const { return state_; }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;

  // A rule that fails requests, once its event has been raised.
  struct ActiveRule {
    BlkdebugRule rule;
    size_t index;  // in rules_
  };
  struct Waiting {
    Waiter* request;
    std::vector<std::string> tags;  // the request resumes when all are resumed
  };

  void follow(DebugEvent event, bool may_suspend);
  // Throws the error that a rule has for a request, or does nothing.
  Task<void> check(RequestKind kind, uint64_t offset, uint64_t length);
  void remove_rule(size_t index);
  bool is_aligned(uint64_t place) const { return place % align_ == 0; }
  // Checks the whole aligned blocks that a request touches, as on a disk with such blocks.
  Task<void> check_blocks(RequestKind kind, uint64_t offset, uint64_t length);
  // The events and reads of the blocks that a write touches in part.
  Task<void> check_edges(uint64_t offset, uint64_t length);
  // The length of the first piece of a request.
  uint64_t piece(uint64_t offset, uint64_t left, uint64_t max) const;
  uint64_t discard_piece(uint64_t offset, uint64_t left) const;
  Task<void> write_zero_piece(uint64_t offset, uint64_t length, WriteFlags flags);
  void tell(const char* what, const std::string& tag) const;

  BlkdebugOptions options_;
  Limits limits_;
  uint64_t align_;  // 1 or above
  std::vector<BlkdebugRule> rules_;
  std::vector<ActiveRule> active_;
  int state_ = 1;
  std::vector<std::string> suspending_;  // the tags for the request that suspend() will receive
  std::vector<Waiting> waiting_;
};

}  // namespace byre::filter
