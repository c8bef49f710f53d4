// SPDX-License-Identifier: Apache-2.0
#include "open/raw_device.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "open/format_probe.h"

namespace byre::open {

uint64_t whole_sectors(uint64_t size) {
  return size > UINT64_MAX - kSectorSize ? size : align_up(size, kSectorSize);
}

RawDevice::RawDevice(std::unique_ptr<BlockDevice> file, RawOptions options)
    : file_(std::move(file)),
      options_(std::move(options)),
      limits_(file_->limits()),
      events_(file_->debug_listener()) {
  limits_.transfer_max = 0;
  if (options_.window.size) limits_.grows = false;
}

std::optional<HostRange> RawDevice::host_range(uint64_t offset, uint64_t length) {
  if (stored_length(offset, length) < length) return std::nullopt;
  return file_->host_range(options_.window.offset + offset, length);
}

uint64_t RawDevice::size() const {
  if (options_.window.size) return *options_.window.size;
  const uint64_t file_size = whole_sectors(file_->size());
  // Another process may have truncated the file meanwhile.
  return whole_sectors(file_size - std::min(file_size, options_.window.offset));
}

uint64_t RawDevice::stored_size() const {
  const uint64_t file_size = file_->size();
  const uint64_t rest = file_size - std::min(file_size, options_.window.offset);
  return options_.window.size ? std::min(rest, *options_.window.size) : rest;
}

uint64_t RawDevice::stored_length(uint64_t offset, uint64_t length) const {
  const uint64_t size = stored_size();
  return offset < size ? std::min(length, size - offset) : 0;
}

Task<void> RawDevice::do_read(uint64_t offset, ReadBuffers to) {
  co_await events_.raise(DebugEvent::kReadAio);
  const uint64_t stored = stored_length(offset, to.size());
  if (stored < to.size()) to.slice(stored).fill_zero();
  if (stored == 0) co_return;
  const uint64_t place = options_.window.offset + offset;
  if (stored == to.size()) {
    co_await file_->read(place, std::move(to));
  } else {
    co_await file_->read(place, to.slice(0, stored));
  }
}

// The first sector must not look like another format after the write. Bytes that are not written
// are not read here but treated as zero: only a write that includes the start of the sector can
// create a magic number there.
void RawDevice::check_first_sector(uint64_t offset, const WriteBuffers& from) const {
  if (offset >= kProbeSize || from.size() == 0) return;
  std::array<uint8_t, kProbeSize> sector{};
  const size_t length = static_cast<size_t>(std::min<uint64_t>(from.size(), kProbeSize - offset));
  from.slice(0, length).copy_to(Bytes(sector.data() + offset, length));
  if (probe_format(sector) == "raw") return;
  throw Error(ErrorKind::kPermission, EPERM, errno_text(EPERM),
              "the format of '" + filename() +
                  "' was detected as raw, and these bytes would make "
                  "it look like another format; specify the raw format");
}

Task<void> RawDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  if (options_.guards_first_sector) check_first_sector(offset, from);
  const uint64_t place = options_.window.offset + offset;
  if (!events_.has_listener()) return file_->write(place, std::move(from), flags);
  return write_and_tell(place, std::move(from), flags);
}

Task<void> RawDevice::write_and_tell(uint64_t place, WriteBuffers from, WriteFlags flags) {
  co_await events_.raise(DebugEvent::kWriteAio);
  co_await file_->write(place, std::move(from), flags);
}

Task<void> RawDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  return file_->write_zeroes(options_.window.offset + offset, length, flags);
}

Task<void> RawDevice::do_discard(uint64_t offset, uint64_t length) {
  const uint64_t stored = stored_length(offset, length);
  if (stored == 0) co_return;
  co_await file_->discard(options_.window.offset + offset, stored);
}

Task<void> RawDevice::do_reserve_space(uint64_t offset, uint64_t length) {
  return file_->reserve_space(options_.window.offset + offset, length);
}

// What the bytes are is not known here, so that a first sector that is guarded cannot be copied.
Task<bool> RawDevice::do_copy_from(HostRange source, uint64_t offset, uint64_t length) {
  const bool is_guarded = options_.guards_first_sector && offset < kProbeSize;
  if (is_guarded || events_.has_listener())
    return BlockDevice::do_copy_from(source, offset, length);
  return file_->copy_from(source, options_.window.offset + offset, length);
}

Task<void> RawDevice::do_flush() {
  return events_.has_listener() ? flush_and_tell() : file_->flush();
}

Task<void> RawDevice::flush_and_tell() {
  co_await events_.raise(DebugEvent::kFlushToOs);
  co_await events_.raise(DebugEvent::kFlushToDisk);
  co_await file_->flush();
}

Task<std::vector<Extent>> RawDevice::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  const uint64_t stored = stored_length(offset, length);
  std::vector<Extent> result;
  if (stored > 0) {
    result = co_await file_->extents(options_.window.offset + offset, stored, ExtentScope::kLayer);
  }
  for (Extent& extent : result) {
    extent.host_offset = extent.offset;
    extent.offset -= options_.window.offset;
    extent.file = file_.get();
    extent.present = true;
  }
  const uint64_t known = result.empty() ? 0 : result.back().offset + result.back().length - offset;
  if (known != stored || stored == length) co_return result;
  // The file ends inside its last sector.
  Extent tail{.offset = offset + stored, .length = length - stored, .present = true, .zero = true};
  tail.host_offset = options_.window.offset + tail.offset;
  tail.file = file_.get();
  result.push_back(tail);
  co_return result;
}

Task<void> RawDevice::do_resize(uint64_t new_size, Preallocation preallocation) {
  if (options_.window.size) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, "Cannot resize fixed-size raw disks");
  }
  const auto file_size = checked_add(new_size, options_.window.offset);
  if (!file_size || *file_size > kSizeMax) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "Disk size too large for the chosen offset");
  }
  return file_->resize(*file_size, preallocation);
}

}  // namespace byre::open
