// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <compare>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/range_lock.h"
#include "block/block_device.h"
#include "storage/cache_mode.h"
#include "storage/file_lock.h"
#include "storage/io_backend.h"

namespace byre::storage {

struct FileOptions {
  bool writable = false;
  CacheMode cache = CacheMode::kWriteback;
  IoBackend io = IoBackend::kAuto;  // kAuto: as BYRE_IO says
  // Makes the file where there is none, with mode 0644; writable only.
  bool create = false;
  // With `create`: fails with kExists where there is one.
  bool exclusive = false;
  // Empties the file once it is locked, so that nobody's image is emptied under him. Of a host
  // device, which cannot be emptied, nothing changes.
  bool truncate = false;
  // Takes no locks at all (QEMU's -U); for read-only files.
  bool force_share = false;
  // What to lock; nothing: kLockWrite, kLockRead or, with `create`, kLockCreate. Change it later with
  // set_lock(), once the format is known.
  std::optional<LockPermissions> lock;
};

// Which file of the host it is, whatever its names: a chain that contains itself is found by it.
struct FileIdentity {
  dev_t device = 0;
  ino_t inode = 0;
  auto operator<=>(const FileIdentity&) const = default;
};

// A regular file ("file") or a block device ("host_device") of the host, on Linux.
//
// A write that reaches past the end of a regular file extends it (Limits::grows); size() follows. A
// read of bytes that somebody else cut off meanwhile gives zeroes, as QEMU's does.
//
// Reads that the page cache can answer are done on the spot. The rest goes to the io_uring of the
// loop, which is made for the first of them, or to worker threads where the host refuses io_uring.
// With O_DIRECT (CacheMode), requests of any alignment are legal; those that are not aligned as
// limits() says go through a buffer of its own, and the edges of such writes are read first.
class FileDevice final : public BlockDevice {
 public:
  // Messages are QEMU's, from the file's level: "Could not open 'x': No such file or directory",
  // "Could not create 'x': Is a directory", "'file' driver requires 'x' to be a regular file",
  // "Failed to get "write" lock\nIs another process using the image [x]?". Whoever opens an image
  // on it puts "Could not open 'x': " before them.
  static Task<std::unique_ptr<FileDevice>> open(std::string filename, FileOptions options);
  // Takes over an open descriptor of a regular file or block device; no locks.
  static std::unique_ptr<FileDevice> adopt(int fd, std::string filename, FileOptions options);
  ~FileDevice() override;

  const std::string& filename() const override { return filename_; }
  const char* driver() const override { return is_host_device_ ? "host_device" : "file"; }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return !options_.writable; }

  Task<void> read(uint64_t offset, IoVector to) override;
  Task<void> write(uint64_t offset, IoVector from, WriteFlags flags) override;
  Task<void> write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> discard(uint64_t offset, uint64_t length) override;
  Task<void> flush() override;
  Task<std::vector<Extent>> extents(uint64_t offset, uint64_t length, ExtentScope scope) override;
  Task<void> resize(uint64_t new_size, Preallocation preallocation) override;
  // The descriptor and its locks are gone afterwards, also when it throws. Does not flush.
  Task<void> close() override;
  std::optional<uint64_t> allocated_size() const override;
  using BlockDevice::write;

  FileIdentity identity() const { return identity_; }
  const FileOptions& options() const { return options_; }
  // Takes and gives back locks so that exactly these are held; see change_lock(). Nothing with
  // force_share.
  void set_lock(LockPermissions permissions);

 private:
  FileDevice(int fd, std::string filename, FileOptions options);

  std::string filename_;
  FileOptions options_;
  bool is_host_device_ = false;
  uint64_t size_ = 0;
  Limits limits_;
  FileIdentity identity_;
  LockPermissions locked_;
};

}  // namespace byre::storage
