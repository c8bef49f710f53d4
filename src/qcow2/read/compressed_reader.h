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

// A part of one compressed cluster that somebody wants, and where.
struct CompressedPiece {
  Run run;  // kCompressed; guest_offset and length say which part of the cluster
  IoVector to;
};

// Compressed clusters to bytes. Clusters whose compressed bytes adjoin are read with one storage
// read; they are decompressed on the worker pool, several at once. Clusters of which only a part is
// wanted are cached, a few of them, so that small sequential reads decompress each once.
//
// Part of the Reader; its requests are under Context::guest_lock where the image is writable.
class CompressedReader {
 public:
  explicit CompressedReader(Context* context);
  ~CompressedReader();

  // In guest order. Damaged data is Health::unreadable() with the guest offset.
  Task<void> read(std::vector<CompressedPiece> pieces);
  void drop(HostOffset host_offset, uint64_t length);

 private:
  // A decompressed cluster, or one that is on its way: then `loading` is held.
  struct CachedCluster {
    HostOffset host_offset;
    uint64_t compressed_size = 0;
    Mutex loading;
    Buffer bytes;  // empty: not there (yet)
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
  std::shared_ptr<CachedCluster> cached_cluster(const Run& run);
  bool is_whole_cluster(const CompressedPiece& piece) const;

  Context* context_;
  std::list<std::shared_ptr<CachedCluster>> cached_;  // most recently used first
  Semaphore groups_;                                  // bounds the memory for compressed bytes
};

}  // namespace byre::qcow2
