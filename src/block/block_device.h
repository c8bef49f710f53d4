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

// What a device can take in one request and how it likes it. Units: bytes. Callers need not keep to
// alignment (a device deals with any offset and length itself), but aligned requests are cheaper.
struct Limits {
  uint32_t request_alignment = 1;   // power of two; offsets and lengths that cost nothing extra
  uint32_t memory_alignment = 1;    // power of two; addresses that cost no copy
  uint32_t preferred_transfer = 0;  // 0: no preference; a subcluster, for qcow2
  uint64_t transfer_max = 0;        // 0: no bound
  bool can_write_zeroes_unmapped = false;  // write_zeroes(kMayUnmap) frees space instead of writing
  // Reads past what was written give zeroes after create or resize: a fresh device needs no
  // clearing.
  bool is_zero_initialised = false;
  // write and write_zeroes may reach past size(): they extend the device, and a gap before them
  // reads as zeroes. True of files; a guest's disk is as large as it is.
  bool grows = false;
  // write(kCompressed) stores the data compressed. Such writes start at a multiple of
  // compressed_write_size and are of that length, or end at the end of the device.
  uint32_t compressed_write_size = 0;
};

enum class WriteFlags : uint32_t {
  kNone = 0,
  kFua = 1,         // durable when the request is done, as if a flush followed
  kMayUnmap = 2,    // write_zeroes: the range may end up without space behind it
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

// A run of bytes of a device that have the same state. The names follow QEMU's block status and
// the JSON of `qemu-img map`.
struct Extent {
  uint64_t offset = 0;  // on the device that was asked
  uint64_t length = 0;  // above 0
  // The layer at `depth` says what these bytes are; false: no layer of the chain does, they read as
  // zeroes (or, with ExtentScope::kLayer, the backing file decides).
  bool present = false;
  bool data = false;        // bytes are stored for them, here or in the layer below
  bool zero = false;        // known to read as zeroes
  bool compressed = false;  // stored in compressed form
  // The qcow2 clusters of a normal or zero-allocated run: where they lie in `file`. Empty where the
  // bytes have no plain place (compressed, unallocated).
  std::optional<uint64_t> host_offset;
  BlockDevice* file = nullptr;  // the device that host_offset counts in; set with it
  uint32_t depth = 0;           // 0: the device that was asked; 1: its backing file; and so on
};

enum class ExtentScope {
  kLayer,  // this layer alone: `present` says whether it decides, depth is 0
  kChain,  // down the chain of backing files
};

// A device that another one was opened on, under the name of the option that gave it: "file",
// "backing", "data-file", "image".
struct ChildDevice {
  const char* name;
  BlockDevice* device;
};

enum class Preallocation { kOff, kMetadata, kFalloc, kFull };
// QEMU's names: "off", "metadata", "falloc", "full".
const char* preallocation_name(Preallocation preallocation);
std::optional<Preallocation> preallocation_named(std::string_view name);

// The one abstraction of byre: something with bytes. A file, memory, a qcow2 image, an export of a
// server, a fault injector on top of any of these.
//
// A device belongs to the loop that opened it; every method is for that loop's thread. Requests may
// be in flight together; two that overlap in bytes, one of them a write, have no defined order.
// Done means visible to later requests; durable only after flush() or with kFua. A failed write
// leaves the bytes of its range undefined (old, new, or a mix of them) and everything else as it
// was. Errors are byre::Error. Ranges lie inside [0, size()), those of writes to a device that
// grows excepted; a range that does not is Error(kInvalidArgument), before anything was done. So is
// a request that comes after close().
class BlockDevice {
 public:
  // No device is larger: offsets of the host's files are signed.
  static constexpr uint64_t kSizeMax = INT64_MAX;

  virtual ~BlockDevice() = default;
  BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  // The name that messages use: the file name as the user gave it.
  virtual const std::string& filename() const = 0;
  // "qcow2", "raw", "file", "host_device", "null-co", "memory": QEMU's names of drivers.
  virtual const char* driver() const = 0;
  virtual uint64_t size() const = 0;
  virtual const Limits& limits() const = 0;
  virtual bool is_read_only() const = 0;

  virtual Task<void> read(uint64_t offset, IoVector to) = 0;
  virtual Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) = 0;
  virtual Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) = 0;
  // A hint that nobody needs the bytes any more; they may read as anything that they were or as
  // zeroes afterwards.
  virtual Task<void> discard(uint64_t offset, uint64_t length) = 0;
  // Takes the space on the host's disk that writes to the range will need, so that they do not fail
  // for lack of it. The bytes stay as they are; the range may reach past the end of a device that
  // grows, which may then end where the range does. Throws Error(kNoSpace) where there is not that
  // much. Nothing happens where a device has its space anyway, or cannot take it.
  virtual Task<void> reserve_space(uint64_t offset, uint64_t length);
  // When it is done, every write that was done before it was called survives a power cut.
  virtual Task<void> flush() = 0;
  // The state of [offset, offset + length), in order, without gaps, from `offset` on: at least one
  // extent, and perhaps not all of the range, so that answers stay small; neighbours may have the
  // same state. An empty range gives none.
  virtual Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length,
                                            ExtentScope scope) = 0;
  // New bytes read as zeroes.
  virtual Task<void> resize(uint64_t new_size, Preallocation preallocation) = 0;
  // Waits for requests in flight, writes back what is not yet written, reports what fails, and
  // gives everything free. The last call, of which a second one does nothing; a device that was not
  // closed leaves its image as a crash would.
  virtual Task<void> close() = 0;

  // How many bytes of the host's disk it takes; nothing where that has no meaning.
  virtual std::optional<uint64_t> allocated_size() const { return std::nullopt; }

  // What it stands on, the device that it takes its bytes from first; none for a file.
  virtual std::vector<ChildDevice> children() const { return {}; }
  // The device without what only stands before it or lends it: for whoever asks which kind of
  // device it is, and sends it no requests.
  virtual BlockDevice& itself() { return *this; }
  // Who wants to know of the events of the device above this one; nullptr: nobody.
  virtual DebugListener* debug_listener() { return nullptr; }

  // Conveniences for the common case.
  Task<void> write(uint64_t offset, IoVector from) {
    return write(offset, std::move(from), WriteFlags::kNone);
  }

 protected:
  // close() begins with it: false where it was called before. From then on check_open() and the
  // checks below throw Error(kInvalidArgument).
  bool begin_close() { return !std::exchange(is_closed_, true); }
  void check_open() const;
  // Throws Error(kInvalidArgument) unless the range lies inside the device.
  void check_range(uint64_t offset, uint64_t length) const;
  // For writes: inside the device, or below kSizeMax if the device grows; and Error(kPermission) if
  // it is read-only.
  void check_writable(uint64_t offset, uint64_t length) const;

 private:
  bool is_closed_ = false;
};

// What a device takes its bytes from in the end: the last of its first children, or itself.
const BlockDevice& leaf_of(const BlockDevice& device);
BlockDevice& leaf_of(BlockDevice& device);
// The topmost listener at or below a device, along the first children; nullptr: none.
DebugListener* find_debug_listener(BlockDevice& device);

}  // namespace byre
