// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "block/buffer.h"
#include "qcow2/read/mapping.h"

namespace byre::qcow2 {

// A part of one compressed cluster, and where to put it.
struct CompressedPiece {
  GuestRun run;  // kCompressed; guest_offset and length select the part of the cluster
  ReadBuffers to;
};

// Reads compressed clusters. Clusters whose compressed bytes adjoin are read with one storage read;
// they are decompressed on the worker pool, several at once. A few clusters of which only a part
// was requested are cached, so that small sequential reads decompress each only once.
//
// Part of the Reader.
// REQUIRES: the caller holds Context::guest_lock for the clusters, unless the image is read-only.
class CompressedReader {
 public:
  explicit CompressedReader(Context* context);
  ~CompressedReader();

  // `pieces` are in guest order. Damaged data throws Health::unreadable() with the guest offset.
  Task<void> read(std::vector<CompressedPiece> pieces);
  void drop(HostOffset host_offset, uint64_t length);

 private:
  // A decompressed cluster, or one that is being loaded: then `loading` is held.
  struct CachedCluster {
    HostOffset host_offset;
    uint64_t compressed_size = 0;
    Mutex loading;
    Buffer bytes;  // empty: not loaded (yet)
  };
  // Pieces that one storage read serves.
  struct Group {
    std::span<CompressedPiece> pieces;
    HostOffset host_offset;
    uint64_t size = 0;
  };

  Task<void> read_part(CompressedPiece* piece);
  Task<void> read_group(Group group);
  Task<void> decompress(std::span<CompressedPiece> pieces, HostOffset base, ConstBytes compressed);
  std::shared_ptr<CachedCluster> cached_cluster(const GuestRun& run);
  bool is_whole_cluster(const CompressedPiece& piece) const;

  Context* context_;
  std::list<std::shared_ptr<CachedCluster>> cached_;  // most recently used first
  Semaphore groups_;                                  // bounds the memory for compressed bytes
};

}  // namespace byre::qcow2
