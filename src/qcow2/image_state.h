// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/mutex.h"
#include "async/range_lock.h"
#include "qcow2/image.h"
#include "qcow2/l1_table.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/mapping.h"
#include "qcow2/reader.h"
#include "qcow2/table_cache.h"
#include "qcow2/write_state.h"

namespace byre::qcow2 {

// Everything of an open image, for the parts of the engine (Mapping, Reader, the write side). One
// loop, so no locks between threads; what must hold across awaits is held by guest_lock and by the
// write side's own locks. Members are destroyed from the bottom up.
struct Image::State {
  State(std::unique_ptr<BlockDevice> file, OpenOptions options,
        layout::HeaderCluster first_cluster);
  ~State();

  // Devices. `backing` and `data_file` are nullptr until, and unless, they are given.
  std::unique_ptr<BlockDevice> file;
  std::unique_ptr<BlockDevice> backing;
  std::unique_ptr<BlockDevice> data_file;
  DebugEvents events;       // for a fault injector below `file`
  DebugEvents data_events;  // and below the device that has the guest's data
  OpenOptions options;

  // Header, extensions and backing file name as they stand in the file, kept up to date by whoever
  // writes them; the geometry that follows from them.
  layout::HeaderCluster first_cluster;
  layout::Geometry geometry;
  std::vector<layout::Snapshot> snapshots;
  std::vector<layout::BitmapEntry> bitmaps;  // as they were when the image was opened
  bool has_unreadable_bitmaps = false;       // then `bitmaps` is empty

  uint64_t size = 0;  // of the guest's disk, in bytes
  Limits limits;

  // Mapping.
  L1Table l1;
  std::unique_ptr<TableCache> l2_cache;
  std::unique_ptr<TableCache> refcount_cache;
  std::chrono::seconds clean_interval{0};  // of both; 0: never
  std::optional<Loop::Clock::time_point> clean_time;
  static constexpr uint64_t kRequestsPerClockLook = 16;
  uint64_t requests = 0;
  Mapping mapping{this};

  // Guest ranges in work. Whoever relies on a mapping across an await holds it shared, whoever
  // changes the mapping of clusters holds those clusters exclusive. Images that are read-only need
  // no lock.
  RangeLock guest_lock;
  std::unique_ptr<Reader> reader;
  // The write side's parts; nullptr in an image that is open read-only.
  std::unique_ptr<WriteState> write_state;

  Mutex features_mutex;  // held while feature bits of the header change

  // The first failure of a metadata write, or the finding of corruption, after which the image
  // refuses further writes and says why.
  std::optional<Error> failure;
  // The dirty bit that the header may still have means nothing: the refcounts are right.
  bool is_repaired = false;
  bool is_known_corrupt = false;        // corruption() was called
  bool has_told_of_corruption = false;  // and warned, or warn_of_corruption() was
  std::optional<bool> is_preallocated;  // once somebody asked: preallocation_probe.h

  layout::Header& header() { return first_cluster.header; }
  const layout::Header& header() const { return first_cluster.header; }
  layout::Extensions& extensions() { return first_cluster.extensions; }
  const layout::Extensions& extensions() const { return first_cluster.extensions; }
  bool has_data_file() const { return header().has_external_data_file(); }
  bool is_writable() const { return options.writable; }
  // Refcounts are written late, and the dirty bit stands while the image is written.
  bool uses_lazy_refcounts() const {
    return header().version >= 3 && options.lazy_refcounts.value_or(header().has_lazy_refcounts());
  }
  // Where guest data lies.
  BlockDevice& data_device() const { return data_file ? *data_file : *file; }
  // The guest offset at which the VM state area begins: the first L2 table behind the disk's.
  layout::GuestOffset vm_state_start() const;
  // The guest offset of a range of that area. Throws Error(kNoSpace, EFBIG) where no L1 table can
  // map it.
  layout::GuestOffset vm_state_offset(uint64_t offset, uint64_t length) const;
  // Reads from the disk or the VM state area, under the guest lock where there is need of one.
  Task<void> read_guest(layout::GuestOffset offset, IoVector to);
  // At most once an interval, at the beginning of a request: what no request has used since the
  // last time leaves the caches.
  void clean_caches();
  // `limits` as they follow from the devices and the header.
  void update_limits();
  // The write side's part of close(): writes back what is dirty and flushes. Part of
  // image_write.cc.
  Task<void> finish_writing();
  // Flushes the data file and the file. Fails, too, where another flush failed before or meanwhile.
  // Part of image_write.cc.
  Task<void> flush_devices();
  // Throws the failure, if there was one; Error(kPermission) if the image is read-only.
  void check_may_write() const;
  // Metadata that breaks the format's rules was met; `finding` in QEMU's words. Warns once an
  // image. Gives the error to throw: EIO, as in QEMU; the hint has file and finding. An image that
  // is writable takes no requests from now on: see check_medium() and end_failed_request().
  Error corruption(const std::string& finding);
  // The same of metadata that is out of the way: the image stays usable.
  void warn_of_corruption(const std::string& finding);
  // Throws ENOMEDIUM, as QEMU has it, where an image that is writable was found corrupt.
  void check_medium() const;
  // The end of a request that failed: marks the header of an image corrupt that was found so (if it
  // is writable, and version 3), and throws `error`. Part of image_write.cc.
  Task<void> end_failed_request(std::exception_ptr error);
  Task<void> mark_corrupt();
  // EIO for guest bytes that cannot be had though the storage works; the hint has file and reason.
  Error unreadable(const std::string& reason) const;
};

}  // namespace byre::qcow2
