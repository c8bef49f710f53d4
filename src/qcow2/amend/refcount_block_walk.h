// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/core/context.h"
#include "qcow2/layout/types.h"
#include "qcow2/space/refcounts.h"

namespace byre::qcow2 {

// Reads the refcount blocks of an image in the order of the refcount table, several at once, straight
// from the file.
// REQUIRES: the cache of refcount blocks has nothing dirty, and no refcount changes meanwhile.
class RefcountBlockWalk {
 public:
  // Both outlive the walk.
  RefcountBlockWalk(Context* context, const Refcounts* refcounts)
      : context_(context), refcounts_(refcounts) {}

  struct Block {
    uint64_t table_index = 0;
    Bytes bytes;  // valid until the next call of next()
  };
  // The next block; nullopt at the end. Throws the errors of Refcounts::block_offset().
  Task<std::optional<Block>> next();

 private:
  Task<void> read_batch();
  Task<void> read_block(Block* block);

  Context* context_;
  const Refcounts* refcounts_;
  uint64_t next_index_ = 0;  // of the table
  Buffer buffer_;
  std::vector<Block> batch_;
  size_t next_in_batch_ = 0;
};

}  // namespace byre::qcow2
