// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/mutex.h"
#include "async/range_lock.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "storage/cache_mode.h"
#include "storage/direct_io.h"
#include "storage/file_facts.h"
#include "storage/file_lock.h"
#include "storage/file_space.h"
#include "storage/host_file.h"
#include "storage/io_backend.h"

namespace byre::storage {

struct FileOptions {
  bool writable = false;
  CacheMode cache = CacheMode::kWriteback;
  IoBackend io = IoBackend::kAuto;  // kAuto: decided by BYRE_IO
  // Any other kind of file is refused; nothing: accept every kind.
  std::optional<HostDriver> driver;
  // Creates the file if it does not exist, with mode 0644; only with `writable`.
  bool create = false;
  // With `create`: fails with kExists if it exists.
  bool exclusive = false;
  // Truncates the file once it is locked, so that no file is truncated while another process uses
  // it. Has no effect on a host device, which cannot be truncated.
  bool truncate = false;
  // Takes no locks at all (QEMU's -U); for files opened read-only.
  bool force_share = false;
  // Refuses a file that cannot be locked (QEMU's locking=on); otherwise it is used without locks.
  bool requires_locks = false;
  // The locks to take; nothing: kLockWrite, kLockRead or, with `create`, kLockCreate. Change them
  // later with set_lock(), once the format is known.
  std::optional<LockPermissions> lock;
};

// A regular file ("file") or a block device ("host_device") of the host, on Linux.
//
// A write that extends past the end of a regular file extends the file (Limits::grows); size()
// follows. A read of bytes that another process has truncated meanwhile returns zeroes, as QEMU's
// does.
//
// Reads that the page cache can satisfy are done inline. The rest go to the io_uring of the loop,
// which is created for the first of them, or to worker threads if the host refuses io_uring. With
// O_DIRECT (CacheMode), requests of any alignment are allowed; those that are not aligned according
// to limits() go through a buffer, and the edges of such writes are read first.
class FileDevice final : public BlockDevice {
 public:
  // Errors have the file as data. Messages are from the file's level: "Could not open 'x': No such
  // file or directory", code "file-not-opened"; "'x': it is not a regular file, and the driver is
  // 'file'", code "file-not-regular". The code that opens an
  // image on it prepends "Could not open 'x': ". A device that does not accept writes is refused if
  // `writable` is set: "The device is not writable: Permission denied".
  static Task<std::unique_ptr<FileDevice>> open(std::string filename, FileOptions options);
  // Takes ownership of an open descriptor of a regular file or block device, opened as `options`
  // specify. Takes the locks of options.lock, by default none.
  static std::unique_ptr<FileDevice> adopt(int fd, std::string filename, FileOptions options);
  ~FileDevice() override;

  const std::string& filename() const override { return filename_; }
  const char* driver() const override { return host_driver_name(driver_); }
  uint64_t size() const override { return size_; }
  const Limits& limits() const override { return limits_; }
  bool is_read_only() const override { return !options_.writable; }
  void refresh_size() override;
  bool has_fixed_size() const override { return is_host_device_; }

  std::optional<uint64_t> allocated_size() const override;

  std::optional<FileIdentity> identity() const override { return identity_; }
  std::optional<HostRange> host_range(uint64_t offset, uint64_t length) override;
  bool add_lock(LockPermissions permissions) override;
  const FileOptions& options() const { return options_; }
  // Acquires and releases locks so that exactly these are held; see change_lock(). Does nothing
  // with force_share.
  void set_lock(LockPermissions permissions);
  LockPermissions lock() const { return locked_; }

 private:
  Task<void> do_read(uint64_t offset, ReadBuffers to) override;
  Task<void> do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) override;
  Task<void> do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) override;
  Task<void> do_discard(uint64_t offset, uint64_t length) override;
  Task<void> do_reserve_space(uint64_t offset, uint64_t length) override;
  Task<void> do_flush() override;
  Task<void> do_start_flush() override;
  Task<std::vector<Extent>> do_extents(uint64_t offset, uint64_t length,
                                       ExtentScope scope) override;
  Task<void> do_resize(uint64_t new_size, Preallocation preallocation) override;
  Task<bool> do_copy_from(HostRange source, uint64_t offset, uint64_t length) override;
  // The descriptor and its locks are released, even if it throws. Does not flush.
  Task<void> do_close() override;

  FileDevice(int fd, std::string filename, FileOptions options, const FileFacts& facts,
             HostFile::Options io);

  // Throws if the drive has no disc.
  void check_medium();
  bool is_durable(WriteFlags flags) const;
  // "Could not <what> '<filename>'", and the range.
  [[noreturn]] void fail(int error, Literal code, const char* what, uint64_t offset,
                         uint64_t length) const;
  Task<void> make_durable();
  Task<int> write_bytes(uint64_t offset, WriteBuffers from, bool durable);
  Task<int> write_to_new_space(uint64_t offset, WriteBuffers from, bool durable, bool may_prepare);
  Task<int> write_zero_bytes(uint64_t offset, uint64_t length, bool durable);
  Task<int> zero_inside(uint64_t offset, uint64_t length, bool may_unmap, bool may_write);
  Task<int> zero_to_new_end(uint64_t offset, uint64_t end, bool may_unmap, bool may_write);
  void check_resize(uint64_t new_size, Preallocation preallocation) const;
  Task<void> set_size(uint64_t new_size);
  Task<void> cut_back(uint64_t old_size);
  // Exists as long as a request that changes bytes up to `end`.
  class NotedWrite {
   public:
    NotedWrite(FileDevice* device, uint64_t end)
        : extending_(end > device->size_ ? &device->extending_writes_ : nullptr) {
      device->has_noted_write_ |= end > device->noted_from_;
      if (extending_ != nullptr) ++*extending_;
    }
    NotedWrite(const NotedWrite&) = delete;
    NotedWrite& operator=(const NotedWrite&) = delete;
    ~NotedWrite() {
      if (extending_ != nullptr) --*extending_;
    }

   private:
    uint64_t* extending_;
  };

  std::string filename_;
  FileOptions options_;
  FileIdentity identity_;
  HostDriver driver_;
  bool is_host_device_;
  bool has_medium_;
  uint64_t size_;
  Limits limits_;
  HostFile file_;
  FileSpace space_;
  LockPermissions locked_;
  // A request that extends the file holds the range that it writes, shared; one that sets the size
  // holds everything from there on, exclusively, so that no extending write is truncated. See also
  // DirectIo.
  RangeLock ranges_;
  // While resize() allocates space, writes from this offset on are noted, and those that were
  // extending the file already: if it fails, it truncates what it has added, but not what they have
  // written.
  uint64_t noted_from_ = UINT64_MAX;
  bool has_noted_write_ = false;
  uint64_t extending_writes_ = 0;   // in flight
  std::optional<DirectIo> direct_;  // with O_DIRECT
  // One flush at a time: of two concurrent ones the kernel reports to only one that pages could not
  // be written; callers that wait share the result of the first.
  Mutex flush_mutex_;
  bool is_starting_flush_ = false;
  // Writes that are done but not yet durable: how many were done, and how many when the last flush
  // began. One of them stands for a previous writer, which may have been killed.
  uint64_t writes_done_ = 1;
  uint64_t writes_flushed_ = 0;
  // The error of a failed flush. The kernel then forgets which pages it could not write, so no
  // later flush can promise anything.
  int flush_error_ = 0;
};

}  // namespace byre::storage
