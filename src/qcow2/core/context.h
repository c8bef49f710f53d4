// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <memory>

#include "async/range_lock.h"
#include "async/task.h"
#include "base/checked.h"
#include "base/units.h"
#include "block/block_device.h"
#include "qcow2/core/header_store.h"
#include "qcow2/core/health.h"
#include "qcow2/core/open_options.h"
#include "qcow2/core/storage.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/types.h"

namespace byre::qcow2 {

// The size of the guest's disk in bytes: whole sectors, as QEMU counts.
inline uint64_t disk_size(const layout::Header& header) {
  return align_down(header.size, kSectorSize);
}

// What every part of the engine may use of an open image. Any other part that it calls is an
// argument of its constructor. An image belongs to one loop, so there are no locks between threads;
// docs/locking.md lists what may be held across awaits.
struct Context {
  // `is_repaired`: ignore a dirty bit that the header may still have.
  Context(std::unique_ptr<BlockDevice> file, OpenOptions options,
          layout::HeaderCluster first_cluster, bool is_repaired = false);

  const OpenOptions options;
  // Changes only with the version and the width of the refcounts, when no request is in flight.
  layout::Geometry geometry;
  Storage storage;
  Health health;
  HeaderStore header_store;
  // Guest ranges in use: locked shared by a request that relies on a mapping across an await,
  // exclusively by one that changes the mapping of clusters. Read-only images need no lock.
  RangeLock guest_lock;

  BlockDevice& file() const { return storage.file(); }
  BlockDevice* backing() const { return storage.backing(); }
  BlockDevice& data_device() const { return storage.data_device(); }
  const DebugEvents& events() const { return storage.events(); }
  const layout::Header& header() const { return header_store.header(); }
  const layout::Extensions& extensions() const { return header_store.extensions(); }
  // The size of the guest's disk in bytes: whole sectors, as QEMU counts.
  uint64_t disk_size() const { return qcow2::disk_size(header()); }
  // The guest offset at which the VM state area begins: the first L2 table past the disk's.
  layout::GuestOffset vm_state_start() const;
  // Refcounts are written late, and the dirty bit is set while the image is open for writing and
  // changed.
  bool uses_lazy_refcounts() const;
  // Flushes the data file and the image file. Also fails if another flush failed before or in the
  // meantime.
  Task<void> flush_devices();
  // Ends a failed request: sets the corrupt bit in the header if the request found the image
  // corrupt, then throws `error`.
  Task<void> end_failed_request(std::exception_ptr error);
};

}  // namespace byre::qcow2
