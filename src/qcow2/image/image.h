// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "qcow2/amend/amend_progress.h"
#include "qcow2/amend/version_change.h"
#include "qcow2/core/open_options.h"
#include "qcow2/layout/bitmap.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"
#include "qcow2/layout/snapshot.h"
#include "qcow2/layout/types.h"
#include "qcow2/snapshots/snapshot_selector.h"
#include "qcow2/snapshots/snapshots.h"

namespace byre::qcow2 {

struct ImageParts;

// An open qcow2 image: the guest's disk as a BlockDevice, and information about the image. It owns
// the file that it is in, and the backing file and external data file once they are set. It belongs
// to the loop that opened it.
//
// What the specification requires to be cleared before the first write is cleared then, not when
// the image is opened for writing. close() writes everything back; an image destroyed without
// close() is as after a crash.
class Image : public BlockDevice {
 public:
  // Reads and validates the header, its extensions, the L1 table and the snapshot table. Throws
  // Error with file, field and value. Does not open the files that the image names: src/open does,
  // and decides whether it may.
  static Task<std::unique_ptr<Image>> open(std::unique_ptr<BlockDevice> file, OpenOptions options);
  ~Image() override;

  // Switches to an internal snapshot's contents instead of the active disk's, with the active
  // disk's size, as QEMU does. Throws the errors that QEMU prints after "Failed to load snapshot:
  // "; the image is unchanged then.
  // REQUIRES: the image is open read-only and has had no request.
  Task<void> load_snapshot(SnapshotSelector selector);

  // Internal snapshots. Each call waits until no request is in flight, and happens as a whole or
  // not at all, also in a power cut; it is durable when it is done. Requests that were made before
  // are part of a new snapshot, later ones are not.
  Task<void> create_snapshot(NewSnapshot snapshot);
  // The disk gets the contents, the size and the VM state of the snapshot. Throws Error(EBUSY) if
  // the image has bitmaps.
  Task<void> apply_snapshot(SnapshotSelector selector);
  Task<void> delete_snapshot(SnapshotSelector selector);
  // Bytes of the file that only this snapshot uses, its tables included. Reads all its tables and
  // the refcounts of what they refer to; changes nothing.
  Task<uint64_t> size_freed_by_deleting(SnapshotSelector selector);

  // The image is to have as many snapshots: compressed clusters that are written from now on are
  // stored so that no refcount becomes too high.
  // REQUIRES: a refcount can be one more than `count`.
  void expect_snapshots(uint64_t count);
  // A range of the disk gets what the snapshot at that index of snapshots() has there, and shares its
  // clusters.
  // REQUIRES: the range is whole clusters, or ends with the disk; it is inside the snapshot's disk,
  // and ends with both or with neither.
  Task<void> share_with_snapshot(size_t index, uint64_t offset, uint64_t length);
  // The backing file shows through in that range.
  // REQUIRES: the range is whole clusters, or ends with the disk.
  Task<void> unallocate(uint64_t offset, uint64_t length);

  // A read-only image that has as its disk that of the snapshot at that index, with its size and
  // VM state. `file` reads the file of this image, and has nothing else; the caller sets the backing
  // file. Throws the errors of load_snapshot().
  // REQUIRES: this image is read-only.
  Task<std::unique_ptr<Image>> open_snapshot(size_t index, std::unique_ptr<BlockDevice> file) const;
  // Whether both images have the same cluster for all bytes of a range, or neither has one, as far
  // as one lookup shows. Zeroes of any kind are the same.
  struct Sharing {
    uint64_t length = 0;  // above 0: the part of the range that this is about
    bool is_same = false;
  };
  // REQUIRES: both are read-only, of the same file; the range is inside both, and not empty.
  Task<Sharing> sharing_with(const Image& other, uint64_t offset, uint64_t length) const;
  // Where the L2 table is in the file that maps that offset; 0: there is none.
  uint64_t l2_table_at(uint64_t offset) const;

  // Nothing is allocated any more, and the backing file shows through everywhere. Snapshots stay.
  // Happens as a whole or not at all; durable when it is done.
  Task<void> make_empty();

  // Properties of the image; the disk and the snapshots read the same before and after. Each call
  // waits until no request is in flight, and is durable when it is done. Wherever one stops, the
  // image is sound, has the property as before or as wanted, and at worst leaks clusters.
  //
  // What resize() would throw without preallocation, before it changes anything.
  void check_resize(uint64_t new_size) const;
  // What downgrade() would throw. REQUIRES: the image is open for writing.
  void check_downgrade(const Downgrade& wanted) const;
  // From version 2 to 3, and from 3 to 2: no zero clusters, no features. Nothing if the image has
  // that version.
  Task<void> upgrade();
  Task<void> downgrade(bool drops_bitmaps, AmendProgress on_progress);
  // `bits`: a power of two, at most 64. Both throw Error(kUnsupported, EINVAL) if a refcount does
  // not fit; then nothing was changed. REQUIRES: version 3, or 16 bits.
  Task<void> check_refcount_bits(uint32_t bits);
  Task<void> set_refcount_bits(uint32_t bits, AmendProgress on_progress);
  // REQUIRES: version 3.
  Task<void> set_lazy_refcounts(bool is_on);
  // The name that the image has for its external data file; empty: none. The file that is open
  // stays.
  Task<void> set_data_filename(std::string name);
  Task<void> clear_raw_external_data();

  // Changes the names of the backing file and of its format in the header; both empty: none. Waits
  // until no request is in flight; everything written before is durable then, and the change is
  // when it is done. In a power cut the image has either the old names or the new ones. See
  // HeaderStore::check_backing_file() for what both throw. backing() stays the same until the image
  // is closed.
  void check_backing_file(const std::string& name, const std::string& format) const;
  Task<void> change_backing_file(std::string name, std::string format);

  const std::string& filename() const override;
  const char* driver() const override { return "qcow2"; }
  uint64_t size() const override;
  const Limits& limits() const override;
  bool is_read_only() const override;
  // The VM state area: bytes past the guest's disk in the same tables, where QEMU keeps the state
  // of a virtual machine while it saves or loads a snapshot. `offset` counts from the start of the
  // area. Bytes that were never written read as zeroes. Limits and errors are those of reads and
  // writes; the area is bounded by the size of L1 tables.
  Task<void> read_vm_state(uint64_t offset, ReadBuffers to);
  Task<void> write_vm_state(uint64_t offset, WriteBuffers from);
  // The guest offset of its start.
  uint64_t vm_state_start() const;
  std::optional<uint64_t> allocated_size() const override;
  std::vector<ChildDevice> children() const override;

  const layout::Header& header() const;
  const layout::Extensions& extensions() const;
  const layout::Geometry& geometry() const;
  const std::vector<layout::Snapshot>& snapshots() const;
  const std::vector<layout::BitmapEntry>& bitmaps() const;

  // As stored in the image, not resolved against its directory; empty: none.
  const std::string& backing_filename() const;
  const std::string& backing_format() const;
  const std::string& data_filename() const;
  bool has_external_data_file() const;

  // Call before the first request. The devices are closed with the image.
  void set_backing(std::unique_ptr<BlockDevice> backing);
  void set_data_file(std::unique_ptr<BlockDevice> data_file);
  BlockDevice* backing() const;    // nullptr: none
  BlockDevice* data_file() const;  // nullptr: guest data is in file()
  BlockDevice& file() const;

  // Made from parts, as open() does it; for tests that look at them.
  explicit Image(std::unique_ptr<ImageParts> parts);

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<void> do_start_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<void> do_close() override;

  Task<void> do_read_vm_state(layout::GuestOffset offset, ReadBuffers to);
  Task<void> read_guest(layout::GuestOffset offset, ReadBuffers to);
  Task<void> clean_and_read(layout::GuestOffset offset, ReadBuffers to);
  Task<void> read_now(layout::GuestOffset offset, ReadBuffers to);
  Task<void> read_beside_writes(layout::GuestOffset offset, ReadBuffers to);
  // The guest offset of a range of the VM state area.
  layout::GuestOffset vm_state_offset(uint64_t offset, uint64_t length) const;
  template <typename Change>
  Task<void> amend(Change change);
  void update_limits();
  Task<void> finish_writing();

  std::unique_ptr<ImageParts> parts_;
  Limits limits_;
};

}  // namespace byre::qcow2
