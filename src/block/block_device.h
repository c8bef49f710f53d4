// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/gate.h"
#include "async/ready.h"
#include "async/task.h"
#include "block/debug_event.h"
#include "block/file_identity.h"
#include "block/io_vector.h"
#include "block/lock_permissions.h"
#include "block/request_policy.h"
#include "block/write_flags.h"

namespace byre {

// What a device accepts in one request and what it prefers. In bytes. Callers may ignore alignment
// (a device handles any offset and length), but aligned requests are cheaper.
struct Limits {
  uint32_t request_alignment = 1;   // power of two; offsets and lengths that cost nothing extra
  uint32_t memory_alignment = 1;    // power of two; addresses that cost no copy
  uint32_t preferred_transfer = 0;  // 0: no preference; a subcluster, for qcow2
  // A read or write of more is split. Compressed writes are not. 0: unlimited, or split below.
  uint64_t transfer_max = 0;
  bool can_write_zeroes_unmapped = false;  // write_zeroes(kMayUnmap) frees space instead of writing
  // Reads past what was written return zeroes after create or resize: a new device needs no
  // clearing.
  bool is_zero_initialised = false;
  // write and write_zeroes may extend past size(): they extend the device, and a gap before them
  // reads as zeroes. True for files; a guest's disk has a fixed size.
  bool grows = false;
  // write(kCompressed) stores the data compressed. Such writes start at a multiple of
  // compressed_write_size and have that length, or end at the end of the device.
  uint32_t compressed_write_size = 0;
};

class BlockDevice;

// A run of bytes of a device that have the same state. The names follow QEMU's block status and the
// JSON of `qemu-img map`.
struct Extent {
  uint64_t offset = 0;  // on the device that was asked
  uint64_t length = 0;  // above 0
  // The layer at `depth` determines these bytes. If false, no layer of the chain does, and they
  // read as zeroes (or, with ExtentScope::kLayer, the backing file determines them).
  bool present = false;
  bool data = false;        // bytes are stored for them, here or in the layer below
  bool zero = false;        // known to read as zeroes
  bool compressed = false;  // stored in compressed form
  // The qcow2 clusters of a normal or zero-allocated run: their offset in `file`. Empty if the
  // bytes have no plain offset (compressed, unallocated).
  std::optional<uint64_t> host_offset;
  BlockDevice* file = nullptr;  // the device that host_offset counts in; set with it
  uint32_t depth = 0;           // 0: the device itself; 1: its backing file; and so on
};

enum class ExtentScope {
  kLayer,  // this layer only: `present` is set if it determines the bytes, depth is 0
  kChain,  // the whole chain of backing files
};

// A device that another one was opened on, under the name of the option that specified it: "file",
// "backing", "data-file", "image".
struct ChildDevice {
  const char* name;
  BlockDevice* device;
};

// Bytes in a file of the host, for the kernel to copy: see BlockDevice::copy_from().
struct HostRange {
  int fd;  // belongs to the device
  uint64_t offset;
};

enum class Preallocation { kOff, kMetadata, kFalloc, kFull };
// QEMU's names: "off", "metadata", "falloc", "full".
const char* preallocation_name(Preallocation preallocation);
std::optional<Preallocation> preallocation_named(std::string_view name);

// The one abstraction of byre: a source and destination of bytes. A file, memory, a qcow2 image, an
// export of a server, a fault injector on top of any of these.
//
// A device belongs to the loop that opened it; every method is for that loop's thread. Requests may
// be in flight concurrently; two that overlap in bytes, one of them a write, have no defined order.
// Done means visible to later requests; durable only after flush() or with kFua. A failed write
// leaves the bytes of its range undefined (old, new, or a mix of them) and everything else
// unchanged.
//
// A request is in flight from the call until its task has ended. Everything that is wrong with it
// is thrown at the await, as byre::Error. These are refused before anything is done: a range that is
// not inside [0, size()), except of writes to a device that grows (kInvalidArgument, EINVAL); a
// change of a device that is read-only (kPermission); a request after close() (kInvalidArgument,
// EBADF).
//
// Each request has two methods: the public one checks it, applies the policy of the device, splits
// it if the device does not accept as much, and counts it; a device implements the other one
// (`do_...`), and gets only requests that it can accept.
class BlockDevice {
 public:
  // No device is larger: file offsets of the host are signed.
  static constexpr uint64_t kSizeMax = INT64_MAX;

  virtual ~BlockDevice() = default;
  BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  // The name for messages: the file name as the user gave it.
  virtual const std::string& filename() const = 0;
  // "qcow2", "raw", "file", "host_device", "null-co", "memory": QEMU's names of drivers.
  virtual const char* driver() const = 0;
  virtual uint64_t size() const = 0;
  virtual const Limits& limits() const = 0;
  virtual bool is_read_only() const = 0;
  // Looks the size up again, if other processes may have changed it. Called before a range is
  // refused that is not inside size().
  virtual void refresh_size() {}

  Task<void> read(uint64_t offset, ReadBuffers to);
  Task<void> write(uint64_t offset, WriteBuffers from, WriteFlags flags = WriteFlags::kNone);
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags);
  // A hint that the bytes are not needed any more; afterwards they may read as any of their former
  // values or as zeroes. Of the flags only kFua has a meaning.
  Task<void> discard(uint64_t offset, uint64_t length, WriteFlags flags = WriteFlags::kNone);
  // Allocates the space on the host's disk that writes to the range will need, so that they do not
  // fail for lack of it. The bytes are unchanged; the range may extend past the end of a device
  // that grows, which may then end where the range does. Throws Error(kNoSpace) if there is not
  // enough. Does nothing if a device has its space anyway, or cannot allocate it.
  Task<void> reserve_space(uint64_t offset, uint64_t length);
  // When it completes, every write that was done before the call survives a power cut.
  Task<void> flush();
  // A hint that flush() will follow, and that what was written will hardly change before: it may
  // begin to go to the disk. Promises nothing, in particular no order; failures are reported by the
  // flush.
  Task<void> start_flush();
  // The state of [offset, offset + length), in order, without gaps, starting at `offset`: at least
  // one extent, and perhaps not the whole range, so that answers stay small; adjacent extents may
  // have the same state. An empty range returns none.
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope);
  // New bytes read as zeroes.
  Task<void> resize(uint64_t new_size, Preallocation preallocation);
  // Waits for requests in flight, writes back what is not yet written, reports what fails, and
  // releases every resource. It is the last call; a second one does nothing. A device that was not
  // closed leaves its image as a crash would.
  Task<void> close();

  // Writes bytes of a file of the host without passing them through this process; file systems that
  // can share blocks do. Returns false if that cannot be done here: the result is then that of a
  // failed write.
  // REQUIRES: the file has these bytes, and nothing closes it meanwhile.
  Task<bool> copy_from(HostRange source, uint64_t offset, uint64_t length);
  // Where a range is stored, unchanged and in one piece; nothing if it is not in a file of the
  // host.
  virtual std::optional<HostRange> host_range(uint64_t /*offset*/, uint64_t /*length*/) {
    return std::nullopt;
  }

  // The number of bytes that it occupies on the host's disk; nothing if that has no meaning.
  virtual std::optional<uint64_t> allocated_size() const { return std::nullopt; }
  // The file of the host that this is, whatever its names; nothing for anything else.
  virtual std::optional<FileIdentity> identity() const { return std::nullopt; }
  // Locks the bytes against other processes, in addition to the locks that it holds. Returns false
  // if it has no locks, so that another process may change it; throws Error(kLocked) if another
  // process holds a conflicting lock.
  virtual bool add_lock(LockPermissions) { return false; }

  // The devices below it, first the one that it reads its bytes from; none for a file.
  virtual std::vector<ChildDevice> children() const { return {}; }
  // Its size is that of a disk of the host: resize() to a smaller one changes nothing.
  virtual bool has_fixed_size() const { return false; }

  // The device without wrappers that only forward to it or share it: for callers that need to know
  // its type, and send it no requests.
  virtual BlockDevice& itself() { return *this; }
  // The listener for the events of the device above this one; nullptr if there is none.
  virtual DebugListener* debug_listener() { return nullptr; }

  // What becomes of discards and of writes of zeroes. By default they are done as asked.
  // REQUIRES: the device has had no request.
  void set_policy(RequestPolicy policy) { policy_ = policy; }
  // With `writes_through`, whatever a request changes is durable when it is done, including how it
  // is found: the cache modes `writethrough` and `directsync`. Set on the device that the caller
  // uses: it is a promise to the caller, and the layers below need not make each of their own
  // writes durable.
  void set_writes_through(bool writes_through) { writes_through_ = writes_through; }

 protected:
  virtual Task<void> do_read(uint64_t offset, ReadBuffers to) = 0;
  virtual Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) = 0;
  virtual Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) = 0;
  virtual Task<void> do_discard(uint64_t offset, uint64_t length) = 0;
  virtual Task<void> do_reserve_space(uint64_t offset, uint64_t length);
  virtual Task<void> do_flush() = 0;
  virtual Task<void> do_start_flush();
  virtual Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                               ExtentScope scope) = 0;
  virtual Task<void> do_resize(uint64_t new_size, Preallocation preallocation) = 0;
  // Called once, when no request is in flight any more.
  virtual Task<void> do_close() = 0;
  virtual Task<bool> do_copy_from(HostRange source, uint64_t offset, uint64_t length);
  // Makes a request out of what `make` returns, a task: counts it, and moves what `make` throws to
  // the await. A task that is already counted by the device below stays so: that one is closed
  // after this one, and waits for it.
  template <class Make>
  auto start(Make make) -> decltype(make()) {
    try {
      auto task = make();
      task.count_in(&in_flight_);
      return task;
    } catch (...) {
      return failed<typename decltype(make())::Result>(std::current_exception());
    }
  }
  // These throw the errors of a request that cannot be accepted.
  void check_open() const;
  // For changes: it is not read-only.
  void check_changeable() const;
  bool writes_through() const { return writes_through_; }

 private:
  // A multiple of what any device may align its end to is still below kSizeMax.
  static void check_new_size(uint64_t new_size);
  // Inside the device.
  void check_range(uint64_t offset, uint64_t length) const;
  void check_readable(uint64_t offset, uint64_t length);
  // Inside the device, or below kSizeMax if the device grows; and it is not read-only.
  void check_writable(uint64_t offset, uint64_t length) const;
  // The length of the first piece of a transfer, if it has to be split.
  uint64_t piece(uint64_t offset, uint64_t left) const;
  Task<void> read_in_pieces(uint64_t offset, ReadBuffers to);
  Task<void> write_in_pieces(uint64_t offset, WriteBuffers from, WriteFlags flags);
  Task<void> then_flush(Task<void> change);
  Task<bool> copy_durably(HostRange source, uint64_t offset, uint64_t length);
  WriteFlags with_durability(WriteFlags flags) const;

  Gate in_flight_;
  RequestPolicy policy_;
  bool writes_through_ = false;
  bool is_closed_ = false;
};

// The device that the bytes ultimately come from: the last of its first children, or itself.
const BlockDevice& leaf_of(const BlockDevice& device);
BlockDevice& leaf_of(BlockDevice& device);
// The topmost listener at or below a device, along the first children; nullptr: none.
DebugListener* find_debug_listener(BlockDevice& device);

}  // namespace byre
