// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "async/mutex.h"
#include "async/task.h"
#include "base/bytes.h"
#include "block/block_device.h"
#include "qcow2/core/health.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/header_rewrite.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2 {

// The header of an open image, in memory and in the file, with its extensions and the name of the
// backing file. Every change of an open image's header goes through it.
//
// A change is one small write inside the first sector, which a disk performs as a whole or not at
// all, between two flushes: everything written before it is on disk first, and the change is
// durable when the call returns. The copy in memory is updated only after that. After a failure the
// file may have either header, and the image refuses writes. Changes are made one at a time; no
// other lock is acquired meanwhile. A new backing file takes a few such changes: HeaderRewrite.
class HeaderStore {
 public:
  // `file` and `health` outlive it.
  HeaderStore(layout::HeaderCluster first_cluster, BlockDevice* file, Health* health)
      : first_cluster_(std::move(first_cluster)), file_(file), health_(health) {}

  const layout::HeaderCluster& first_cluster() const { return first_cluster_; }
  const layout::Header& header() const { return first_cluster_.header; }
  const layout::Extensions& extensions() const { return first_cluster_.extensions; }
  const std::string& backing_file_name() const { return first_cluster_.backing_file_name; }

  Task<void> set_refcount_table(layout::HostOffset offset, uint32_t clusters);
  // A table whose blocks have entries of 2^order bits. Version 3 only.
  Task<void> set_refcounts(layout::HostOffset table, uint32_t clusters, uint32_t order);
  Task<void> set_l1_table(layout::HostOffset offset, uint32_t entries);
  Task<void> set_size(uint64_t size);
  // The size and all tables, at once.
  struct TableSet {
    uint64_t size = 0;
    layout::HostOffset l1_table;
    uint32_t l1_entries = 0;
    layout::HostOffset refcount_table;
    uint32_t refcount_table_clusters = 0;
    layout::HostOffset snapshot_table;
    uint32_t snapshots = 0;
  };
  TableSet tables() const;
  Task<void> set_tables(TableSet tables);
  // Masks, so that two callers that change different bits do not undo each other's change. Version
  // 3 only; does not write if nothing changes.
  struct FeatureChange {
    uint64_t incompatible_set = 0;
    uint64_t incompatible_cleared = 0;
    uint64_t compatible_set = 0;
    uint64_t compatible_cleared = 0;
    uint64_t autoclear_cleared = 0;
  };
  Task<void> change_features(FeatureChange change);
  // Everything at once: for another version, or other extensions. After a power cut the file has the
  // old header or the new one; HeaderRewrite tells of the rare exceptions. Throws Error(kNoSpace) if
  // the first cluster has no room for it; nothing is changed then, and the image remains usable.
  Task<void> replace(layout::HeaderCluster target);
  // Changes the names of the backing file and of its format, at once; both empty: none. Until that
  // is durable the file has the old ones, whatever happens; HeaderRewrite tells of the exceptions.
  // check_backing_file() throws Error(kInvalidArgument) for names that no header can have, and
  // Error(kNoSpace) if the first cluster has no room for them. So does set_backing_file(), which
  // changes nothing then.
  void check_backing_file(const std::string& name, const std::string& format) const;
  Task<void> set_backing_file(std::string name, std::string format);
  // Sets the corrupt bit if the image was found corrupt, is writable and has version 3.
  Task<void> mark_if_corrupt();

 private:
  // REQUIRES: the caller holds mutex_.
  Task<void> write(size_t offset, ConstBytes bytes);
  // These too.
  Task<std::vector<uint8_t>> read_first_cluster();
  Task<void> rewrite(const std::vector<uint8_t>* before, layout::HeaderCluster target);
  Task<void> write_tail(const std::vector<uint8_t>* now, const std::vector<uint8_t>* next);
  Task<void> perform(const layout::HeaderRewrite* rewrite, const std::vector<uint8_t>* before);

  layout::HeaderCluster first_cluster_;
  BlockDevice* file_;
  Health* health_;
  Mutex mutex_;
};

}  // namespace byre::qcow2
