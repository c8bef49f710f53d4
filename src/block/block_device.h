// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "block/debug_event.h"
#include "block/io_vector.h"

namespace byre {

// What a device accepts in one request and what it prefers. In bytes. Callers may ignore alignment
// (a device handles any offset and length), but aligned requests are cheaper.
struct Limits {
  uint32_t request_alignment = 1;   // power of two; offsets and lengths that cost nothing extra
  uint32_t memory_alignment = 1;    // power of two; addresses that cost no copy
  uint32_t preferred_transfer = 0;  // 0: no preference; a subcluster, for qcow2
  uint64_t transfer_max = 0;        // 0: unlimited
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

enum class WriteFlags : uint32_t {
  kNone = 0,
  kFua = 1,         // durable when the request completes, as if a flush followed
  kMayUnmap = 2,    // write_zeroes: the range may be deallocated
  kNoFallback = 4,  // write_zeroes: fail with kUnsupported rather than write zero bytes
  kCompressed = 8,  // write: store compressed, see Limits::compressed_write_size
};
constexpr WriteFlags operator|(WriteFlags a, WriteFlags b) {
  return static_cast<WriteFlags>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr bool has_flag(WriteFlags flags, WriteFlags flag) {
  return (static_cast<uint32_t>(flags) & static_cast<uint32_t>(flag)) != 0;
}
constexpr WriteFlags without_flag(WriteFlags flags, WriteFlags flag) {
  return static_cast<WriteFlags>(static_cast<uint32_t>(flags) & ~static_cast<uint32_t>(flag));
}

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
// unchanged. Errors are byre::Error. Ranges must be inside [0, size()), except those of writes to a
// device that grows; any other range is Error(kInvalidArgument), before anything is done. So is a
// request after close().
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

  virtual Task<void> read(uint64_t offset, IoVector to) = 0;
  virtual Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) = 0;
  virtual Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) = 0;
  // A hint that the bytes are not needed any more; afterwards they may read as any of their former
  // values or as zeroes.
  virtual Task<void> discard(uint64_t offset, uint64_t length) = 0;
  // Allocates the space on the host's disk that writes to the range will need, so that they do not
  // fail for lack of it. The bytes are unchanged; the range may extend past the end of a device
  // that grows, which may then end where the range does. Throws Error(kNoSpace) if there is not
  // enough. Does nothing if a device has its space anyway, or cannot allocate it.
  virtual Task<void> reserve_space(uint64_t offset, uint64_t length);
  // When it completes, every write that was done before the call survives a power cut.
  virtual Task<void> flush() = 0;
  // The state of [offset, offset + length), in order, without gaps, starting at `offset`: at least
  // one extent, and perhaps not the whole range, so that answers stay small; adjacent extents may
  // have the same state. An empty range returns none.
  virtual Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length,
                                            ExtentScope scope) = 0;
  // New bytes read as zeroes.
  virtual Task<void> resize(uint64_t new_size, Preallocation preallocation) = 0;
  // Waits for requests in flight, writes back what is not yet written, reports what fails, and
  // releases every resource. It is the last call; a second one does nothing. A device that was not
  // closed leaves its image as a crash would.
  virtual Task<void> close() = 0;

  // The number of bytes that it occupies on the host's disk; nothing if that has no meaning.
  virtual std::optional<uint64_t> allocated_size() const { return std::nullopt; }

  // The devices below it, first the one that it reads its bytes from; none for a file.
  virtual std::vector<ChildDevice> children() const { return {}; }
  // The device without wrappers that only forward to it or share it: for callers that need to know
  // its type, and send it no requests.
  virtual BlockDevice& itself() { return *this; }
  // The listener for the events of the device above this one; nullptr if there is none.
  virtual DebugListener* debug_listener() { return nullptr; }

  // Conveniences for the common case.
  Task<void> write(uint64_t offset, IoVector from) {
    return write(offset, std::move(from), WriteFlags::kNone);
  }

 protected:
  // close() begins with this: false if it was called before. From then on check_open() and the
  // checks below throw Error(kInvalidArgument).
  bool begin_close() { return !std::exchange(is_closed_, true); }
  void check_open() const;
  // Throws Error(kInvalidArgument) unless the range is inside the device.
  void check_range(uint64_t offset, uint64_t length) const;
  // For writes: inside the device, or below kSizeMax if the device grows; and Error(kPermission) if
  // it is read-only.
  void check_writable(uint64_t offset, uint64_t length) const;

 private:
  bool is_closed_ = false;
};

// The device that the bytes ultimately come from: the last of its first children, or itself.
const BlockDevice& leaf_of(const BlockDevice& device);
BlockDevice& leaf_of(BlockDevice& device);
// The topmost listener at or below a device, along the first children; nullptr: none.
DebugListener* find_debug_listener(BlockDevice& device);

}  // namespace byre
