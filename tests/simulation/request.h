// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "simulation/plan.h"
#include "simulation/sector_content.h"

namespace byre::simulation {

// One request of a guest, or of a program that manages the image.
struct Request {
  enum class Kind {
    kRead,
    kWrite,
    kCompressed,
    kZeroes,
    kDiscard,
    kUnallocate,  // the backing file shows through
    kShare,       // what a snapshot has there
    kFlush,
    kResize,
    kAmend,   // another refcount width, version, or lazy refcounts
    kEmpty,   // nothing is allocated any more
    kRebase,  // another backing file
    kCommit,  // what the image has goes to an image below
    // Of internal snapshots.
    kCreate,
    kApply,
    kRemove
  };

  uint64_t number = 0;  // also the generation of what it writes
  Kind kind = Kind::kRead;
  uint64_t offset = 0;
  // Of a resize: the new size; of a rebase: that of the new backing file, 0: none; of an amendment: a
  // number that chooses it; of a commit: how far below the image is.
  uint64_t length = 0;
  std::string snapshot;  // its name
  WriteFlags flags = WriteFlags::kNone;
  bool compresses = false;

  // Whether it changes the bytes of its range.
  bool changes() const { return kind >= Kind::kWrite && kind <= Kind::kShare; }
  // Whether its range is whole clusters, or ends with the disk.
  bool is_of_clusters() const { return kind == Kind::kCompressed || is_set_back(); }
  bool is_set_back() const { return kind == Kind::kUnallocate || kind == Kind::kShare; }
  // Whether it is about the disk as a whole: no other request may change it meanwhile.
  bool is_whole() const { return kind >= Kind::kResize; }
  bool is_of_snapshots() const { return kind >= Kind::kCreate; }
  // Whether the image is closed after it.
  bool changes_base() const { return kind == Kind::kRebase || kind == Kind::kCommit; }
  Content content() const { return {static_cast<uint32_t>(number), compresses}; }
  std::string describe() const;
};

// The disk that requests are drawn for.
struct RequestBounds {
  uint64_t disk_size = 0;
  uint64_t hot_begin = 0;  // where half of the requests go, so that they overlap
  uint64_t hot_size = 0;
  uint64_t cluster_size = 0;
  bool can_compress = false;
  bool only_reads = false;  // and flushes
  uint64_t size_max = 0;    // what it may grow to
  bool empties = false;
  bool manages_snapshots = false;
  bool amends = false;
  bool shares = false;
  bool rebases = false;
  bool commits = false;
  std::vector<std::string> snapshots;  // names of those that there are
};

// Any offset and length, but mostly near one another and at the boundaries of clusters.
Request draw_request(Random& random, uint64_t number, const RequestBounds& bounds);

// Makes a request that is of the disk itself. `bytes` are those to write, or take what is read. A larger disk is preallocated
// in that way.
Task<void> perform(BlockDevice* disk, Request request, std::vector<uint8_t>* bytes,
                   Preallocation preallocation);

}  // namespace byre::simulation
