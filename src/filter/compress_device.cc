// SPDX-License-Identifier: Apache-2.0
#include "filter/compress_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "block/buffer.h"
#include "byre/error.h"

namespace byre::filter {

CompressDevice::CompressDevice(std::unique_ptr<BlockDevice> below, std::string filename)
    : FilterDevice(std::move(below), std::move(filename)),
      limits_(FilterDevice::limits()),
      cluster_size_(limits_.compressed_write_size) {
  limits_.transfer_max = 0;  // a part of a cluster would be compressed again and again
  if (cluster_size_ != 0) limits_.request_alignment = limits_.compressed_write_size;
}

Task<void> CompressDevice::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  if (cluster_size_ == 0) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "device-not-compressible", .file = below().filename()},
                "compressed writes are not supported");
  }
  uint64_t done = 0;
  while (done < from.size()) {
    const uint64_t place = offset + done;
    const uint64_t room = cluster_size_ - place % cluster_size_;
    const uint64_t length = std::min<uint64_t>(from.size() - done, room);
    const WriteBuffers part = from.slice(done, length);
    co_await write_cluster(place, part, flags);
    done += length;
  }
}

Task<void> CompressDevice::write_cluster(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  const uint64_t start = align_down(offset, cluster_size_);
  const RangeLock::Guard guard =
      co_await clusters_.acquire(start, cluster_size_, RangeLock::Mode::kExclusive);
  const uint64_t length = std::min(cluster_size_, size() - start);
  if (from.size() == length) {
    co_await below().write(start, std::move(from), flags | WriteFlags::kCompressed);
    co_return;
  }
  Buffer buffer(length);
  const ReadBuffers whole(buffer.bytes());
  co_await below().read(start, whole);
  from.copy_to(buffer.bytes(offset - start, from.size()));
  co_await below().write(start, whole, flags | WriteFlags::kCompressed);
}

Task<RangeLock::Guard> CompressDevice::lock_clusters(uint64_t offset, uint64_t length) {
  const uint64_t unit = std::max<uint64_t>(cluster_size_, 1);
  const uint64_t start = align_down(offset, unit);
  const uint64_t end = align_up(offset + length, unit);
  RangeLock::Guard guard = co_await clusters_.acquire(start, end - start, RangeLock::Mode::kShared);
  co_return guard;
}

Task<void> CompressDevice::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  const RangeLock::Guard guard = co_await lock_clusters(offset, length);
  co_await below().write_zeroes(offset, length, flags);
}

Task<void> CompressDevice::do_discard(uint64_t offset, uint64_t length) {
  const RangeLock::Guard guard = co_await lock_clusters(offset, length);
  co_await below().discard(offset, length);
}

Task<void> CompressDevice::do_resize(uint64_t new_size, Preallocation preallocation) {
  const RangeLock::Guard guard =
      co_await clusters_.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  co_await below().resize(new_size, preallocation);
}

}  // namespace byre::filter
