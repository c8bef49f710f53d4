// SPDX-License-Identifier: Apache-2.0
#include "cli/io/request.h"

#include <algorithm>
#include <cerrno>
#include <numeric>

#include "byre/error.h"

namespace byre::cli::io {

void check_inside(const BlockDevice& device, uint64_t offset, uint64_t length) {
  const uint64_t size = device.size();
  if (offset <= size && length <= size - offset) return;
  throw Error(ErrorKind::kInvalidArgument, EIO, errno_text(EIO),
              std::to_string(length) + " bytes at offset " + std::to_string(offset) +
                  " are not within the disk, which has " + std::to_string(size) + " bytes");
}

Refusal failure_of(const std::string& what, const Error& error) {
  const std::string reason = errno_text(error.errno_value());
  std::string hint = error.message() == reason ? "" : error.message();
  if (!error.hint().empty()) hint += (hint.empty() ? "" : ": ") + error.hint();
  return Refusal{what + " failed: " + reason, std::move(hint)};
}

std::chrono::nanoseconds run_timed(Session& session, const std::string& what, Task<void> request) {
  const Loop::Clock::time_point start = Loop::Clock::now();
  try {
    session.run_unstopped(std::move(request));
  } catch (const Error& error) {
    throw failure_of(what, error);
  }
  return Loop::Clock::now() - start;
}

Task<void> checked_read(BlockDevice& device, uint64_t offset, ReadBuffers to) {
  check_inside(device, offset, to.size());
  co_await device.read(offset, std::move(to));
}

Task<void> checked_write(BlockDevice& device, uint64_t offset, WriteBuffers from,
                         WriteFlags flags) {
  check_inside(device, offset, from.size());
  co_await device.write(offset, std::move(from), flags);
}

Task<void> checked_compressed_write(BlockDevice& device, uint64_t offset, WriteBuffers from) {
  check_inside(device, offset, from.size());
  const uint64_t unit = device.limits().compressed_write_size;
  if (unit == 0) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, errno_text(ENOTSUP),
                std::string(device.driver()) + " images do not support compression");
  }
  const bool ends_well = from.size() % unit == 0 || offset + from.size() == device.size();
  if (offset % unit != 0 || !ends_well) {
    // The device refuses it, unless it turns zero bytes into zeroes.
    co_await device.write(offset, std::move(from), WriteFlags::kCompressed);
    co_return;
  }
  for (uint64_t done = 0; done < from.size(); done += unit) {
    const WriteBuffers piece = from.slice(done, std::min<uint64_t>(unit, from.size() - done));
    co_await device.write(offset + done, piece, WriteFlags::kCompressed);
  }
}

Task<void> checked_zeroes(BlockDevice& device, uint64_t offset, uint64_t length, WriteFlags flags) {
  check_inside(device, offset, length);
  co_await device.write_zeroes(offset, length, flags);
}

Task<void> checked_discard(BlockDevice& device, uint64_t offset, uint64_t length) {
  check_inside(device, offset, length);
  co_await device.discard(offset, length);
}

ReadBuffers segments_of(Bytes memory, const std::vector<uint64_t>& lengths) {
  ReadBuffers segments;
  size_t done = 0;
  for (const uint64_t length : lengths) {
    if (length > 0) segments.append(memory.data() + done, length);
    done += length;
  }
  return segments;
}

uint64_t total_of(const std::vector<uint64_t>& lengths) {
  return std::accumulate(lengths.begin(), lengths.end(), uint64_t{0});
}

std::string pattern_failure(uint64_t offset, uint64_t length) {
  return "Pattern verification failed at offset " + std::to_string(offset) + ", " +
         std::to_string(length) + " bytes\n";
}

}  // namespace byre::cli::io
