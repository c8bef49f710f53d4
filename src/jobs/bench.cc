// SPDX-License-Identifier: Apache-2.0
#include "jobs/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "async/when_all.h"
#include "block/buffer.h"
#include "block/close_after.h"
#include "byre/error.h"
#include "storage/cache_mode.h"

namespace byre::jobs {
namespace {

using Clock = std::chrono::steady_clock;

Error failed_request(const Error& error) {
  if (error.kind() == ErrorKind::kCancelled) return error;
  return Error(error.kind(), error.errno_value(),
               "Failed request: " + errno_text(error.errno_value()), error.message());
}

class Measurement {
 public:
  Measurement(BlockDevice* device, const BenchJob* job)
      : device_(*device), requests_(job->requests), cancellation_(job->cancellation) {}

  Task<BenchResult> run() {
    const Clock::time_point begin = Clock::now();
    while (sent_ < requests_.count) {
      const uint64_t end = end_of_group();
      std::vector<Task<void>> workers;
      const uint64_t depth = std::min(requests_.depth, end - sent_);
      for (uint64_t i = 0; i < depth; ++i) workers.push_back(work(i, end));
      // The flush of the group before, which runs beside this group.
      if (std::exchange(flush_is_due_, false)) workers.push_back(flush());
      co_await when_all(std::move(workers));
      if (requests_.flush_interval == 0) continue;
      if (requests_.drains || end == requests_.count) {
        co_await flush();
      } else {
        flush_is_due_ = true;
      }
    }
    result_.elapsed = Clock::now() - begin;
    co_return std::move(result_);
  }

 private:
  // Where the number of requests that are left is a multiple of the interval.
  uint64_t end_of_group() const {
    const uint64_t interval = requests_.flush_interval;
    if (interval == 0) return requests_.count;
    const uint64_t left = requests_.count - sent_;
    return sent_ + (left % interval == 0 ? interval : left % interval);
  }

  Task<void> work(uint64_t index, uint64_t end) {
    if (buffers_.size() <= index) buffers_.resize(index + 1);
    Buffer& kept = buffers_[index];
    if (kept.size() == 0) {
      kept = Buffer(requests_.length);
      std::memset(kept.data(), requests_.pattern, kept.size());
    }
    const Bytes bytes = kept.bytes();
    while (sent_ < end && !has_failed_) {
      const uint64_t offset = next_offset();
      const Clock::time_point begin = Clock::now();
      std::exception_ptr error;
      try {
        if (cancellation_ != nullptr) cancellation_->check();
        co_await send(offset, bytes);
      } catch (const Error& failure) {
        error = std::make_exception_ptr(failed_request(failure));
      }
      if (error) {
        has_failed_ = true;
        std::rethrow_exception(error);
      }
      result_.latencies.add(Clock::now() - begin);
    }
  }

  uint64_t next_offset() {
    const uint64_t size = device_.size();
    if (sent_++ == 0) position_ = requests_.offset;
    const uint64_t offset = position_;
    position_ = size == 0 ? 0 : (position_ + requests_.step) % size;
    return offset;
  }

  Task<void> send(uint64_t offset, Bytes bytes) {
    const uint64_t size = device_.size();
    if (offset > size || bytes.size() > size - offset) {
      throw Error(ErrorKind::kInvalidArgument, EIO,
                  ErrorData{.code = "bench-past-end", .bound = size, .offset = offset},
                  fmt::format("a request of {} bytes at offset {} would end past the disk's {} "
                              "bytes",
                              bytes.size(), offset, size));
    }
    if (requests_.writes) return device_.write(offset, WriteBuffers(ConstBytes(bytes)));
    return device_.read(offset, bytes);
  }

  Task<void> flush() {
    std::exception_ptr error;
    try {
      co_await device_.flush();
    } catch (const Error& failure) {
      error = std::make_exception_ptr(failed_request(failure));
    }
    if (error) std::rethrow_exception(error);
    ++result_.flushes;
  }

  BlockDevice& device_;
  const BenchRequests requests_;
  const Cancellation* const cancellation_;
  std::vector<Buffer> buffers_;
  uint64_t sent_ = 0;
  uint64_t position_ = 0;
  bool has_failed_ = false;
  bool flush_is_due_ = false;
  BenchResult result_;
};

}  // namespace

Task<BenchResult> bench(BenchJob job) {
  job.image.writable = job.requests.writes;
  std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  std::exception_ptr error;
  BenchResult result;
  try {
    if (job.native_aio && !storage::is_direct(job.image.cache)) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  ErrorData{.code = "bench-native-io-not-direct", .file = job.filename},
                  "aio=native requires direct access: -t none or -t directsync");
    }
    if (job.on_open) job.on_open();
    Measurement measurement(device.get(), &job);
    result = co_await measurement.run();
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(device.get(), error);
  co_return result;
}

}  // namespace byre::jobs
