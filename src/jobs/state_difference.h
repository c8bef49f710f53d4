// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "jobs/source_states.h"

namespace byre::jobs {

// What makes a copy of one state of a source into a copy of the next one: some ranges are as they
// are, some as in an earlier snapshot, and the others have to be copied. As a device it reads as the
// next state, and its topmost layer is what has to be copied.
//
// Ranges that are not copied are whole clusters of the target, except at the end of the disk, and where
// a target's cluster has both bytes that differ and bytes that do not.
class StateDifference final : public BlockDevice {
 public:
  struct Rules {
    uint64_t cluster_size = 0;  // of the target
    // The target has a backing file with the contents of the source's: what the source's topmost
    // layer does not have, up to the end of that file, is unallocated in the target.
    bool top_layer_only = false;
    uint64_t source_backing_size = UINT64_MAX;
    bool target_has_backing = false;
  };

  // The step to the state at `index`, above 0, from the one before. `states` outlives it.
  StateDifference(const SourceStates* states, size_t index, Rules rules);

  struct Piece {
    enum class Kind {
      kKept,         // the target has it
      kShared,       // the snapshot at `snapshot` has it
      kUnallocated,  // the target's backing file has it
      kCopied,
    };
    uint64_t length = 0;
    Kind kind = Kind::kCopied;
    size_t snapshot = 0;
  };
  // The piece that begins at `offset`, which is inside the disk.
  Task<Piece> at(uint64_t offset);

  const std::string& filename() const override { return now_->filename(); }
  const char* driver() const override { return "difference"; }
  uint64_t size() const override { return now_->size(); }
  const Limits& limits() const override { return now_->limits(); }
  bool is_read_only() const override { return true; }

 private:
  // How far this state and the one at `other` are the same, or differ, from `offset` on, inside
  // `length`.
  struct Comparison {
    uint64_t same = 0;
    uint64_t different = 0;
  };
  Task<Comparison> compare(size_t other, uint64_t offset, uint64_t length);
  Task<Piece> piece_of_cluster(uint64_t cluster);
  Task<std::optional<Piece>> shared_with_snapshot(uint64_t cluster, uint64_t length_max,
                                                  uint64_t* different);
  Task<uint64_t> unallocated_length(uint64_t offset, uint64_t length_max);
  bool is_whole(size_t other, uint64_t cluster, uint64_t length) const;
  uint64_t whole_clusters(uint64_t offset, uint64_t length) const;
  Task<void> append_copied(std::vector<Extent>* extents, uint64_t offset, uint64_t length);

  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_write(uint64_t, WriteBuffers, WriteFlags) override { return ready(); }
  Task<void> do_write_zeroes(uint64_t, uint64_t, WriteFlags) override { return ready(); }
  Task<void> do_discard(uint64_t, uint64_t) override { return ready(); }
  Task<void> do_flush() override { return ready(); }
  Task<void> do_resize(uint64_t, Preallocation) override { return ready(); }
  Task<void> do_close() override { return ready(); }

  const SourceStates* states_;
  const size_t index_;
  const Rules rules_;
  qcow2::Image* const now_;
};

}  // namespace byre::jobs
