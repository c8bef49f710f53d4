// SPDX-License-Identifier: Apache-2.0
#include "support/replaced_new.h"
#if BYRE_CAN_FAIL_ALLOCATIONS

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "async/ring.h"
#include "async/when_all.h"
#include "byre/error.h"
#include "storage/file_device.h"
#include "unit/support/pattern.h"
#include "unit/support/temporary_folder.h"

// Memory that runs out on the loop's thread while requests to a real file are in flight.
namespace byre::storage {
namespace {

using test::pattern;
using Contents = std::vector<uint8_t>;

// Each request has a share of the file of this size, including some blocks that it shares with
// others.
constexpr uint64_t kShare = 20000;
constexpr uint8_t kGivenBack = 0x5a;  // not part of any pattern as long as a request

struct Request {
  enum class Kind { kRead, kWrite, kLargeWrite, kScattered, kZeroes, kUnmap, kDiscard, kReserve };
  Kind kind;
  uint64_t offset = 0;
  Contents memory;
  bool is_done = false;
};

using enum Request::Kind;

constexpr Request::Kind kKinds[] = {kRead,  kWrite, kRead,    kScattered, kZeroes,  kRead,
                                    kWrite, kUnmap, kDiscard, kRead,      kReserve, kLargeWrite};
constexpr uint64_t kRounds = 2;
constexpr uint64_t kRequests = kRounds * std::size(kKinds);
constexpr uint64_t kLarge = 1 << 20;  // larger than what the loop writes itself
constexpr uint64_t kSize = (kRequests + 1) * kShare + kRounds * kLarge;

std::vector<Request> make_requests() {
  std::vector<Request> all;
  uint64_t offset = 300;
  for (uint64_t round = 0; round < kRounds; ++round) {
    for (const Request::Kind kind : kKinds) {
      Request request{kind, offset, {}, false};
      const uint64_t length = kind == kLargeWrite ? kLarge : 4096 * (1 + round) + 100 * round;
      request.memory = kind == kRead ? Contents(length, 0xee) : pattern(offset, length, 2);
      all.push_back(std::move(request));
      offset += kind == kLargeWrite ? kLarge + kShare : kShare;
    }
  }
  return all;
}

ReadBuffers scattered(Contents& memory) {
  ReadBuffers vector;
  for (size_t at = 0; at < memory.size(); at += 1000) {
    vector.append(memory.data() + at, std::min<size_t>(1000, memory.size() - at));
  }
  return vector;
}

Task<void> make(FileDevice* device, Request* request) {
  const uint64_t length = request->memory.size();
  switch (request->kind) {
    case kRead:
      co_await device->read(request->offset, Bytes(request->memory));
      break;
    case kWrite:
    case kLargeWrite:
      co_await device->write(request->offset, ConstBytes(request->memory));
      break;
    case kScattered: {
      const WriteBuffers from = scattered(request->memory);
      co_await device->write(request->offset, from);
      break;
    }
    case kZeroes:
      co_await device->write_zeroes(request->offset, length, WriteFlags::kNone);
      break;
    case kUnmap:
      co_await device->write_zeroes(request->offset, length, WriteFlags::kMayUnmap);
      break;
    case kDiscard:
      co_await device->discard(request->offset, length);
      break;
    case kReserve:
      co_await device->reserve_space(request->offset, length);
      break;
  }
}

// The memory of a failed request belongs to its owner again, who may reuse it.
Task<void> make_and_tell(FileDevice* device, Request* request) {
  try {
    co_await make(device, request);
    request->is_done = true;
  } catch (const std::exception&) {
    std::ranges::fill(request->memory, kGivenBack);
  }
}

Task<void> flush_and_tell(FileDevice* device, bool* is_done) {
  co_await device->flush();
  *is_done = true;
}

// What the request's share of the file may contain.
void expect_share(const Request& request, const Contents& file) {
  const Contents before = pattern(request.offset, request.memory.size(), 1);
  const Contents written = pattern(request.offset, request.memory.size(), 2);
  const bool may_be_zero =
      request.kind == kZeroes || request.kind == kUnmap || request.kind == kDiscard;
  const bool writes =
      request.kind == kWrite || request.kind == kLargeWrite || request.kind == kScattered;
  const bool must_change = request.is_done && request.kind != kDiscard && (may_be_zero || writes);
  for (size_t i = 0; i < before.size(); ++i) {
    const uint8_t found = file[request.offset + i];
    const uint8_t changed = may_be_zero ? 0 : writes ? written[i] : before[i];
    if (found == changed || (found == before[i] && !must_change)) continue;
    ADD_FAILURE() << "byte " << i << " of the request at " << request.offset << ", which is "
                  << (request.is_done ? "done" : "failed") << ", is " << int{found};
    return;
  }
}

struct Way {
  const char* environment;
  CacheMode cache;
};

class StorageAllocationFaults : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override { setenv("BYRE_IO", GetParam().environment, 1); }
  void TearDown() override { unsetenv("BYRE_IO"); }

  std::string refusal() {
    try {
      Loop loop;
      folder_.make("probe", Contents(4096));
      loop.run(FileDevice::open(folder_.file("probe"), {.cache = GetParam().cache}));
    } catch (const Error& error) {
      if (error.errno_value() != EINVAL && Ring::refusal() == 0) throw;
      return error.message();
    }
    return {};
  }

  // Runs the requests concurrently, together with a flush, while the n-th allocation fails. A
  // separate thread has no coroutine frames left over from others.
  void run(uint64_t n) {
    folder_.make("disk", before_);
    std::vector<Request> requests = make_requests();
    bool is_flushed = false;
    std::thread([&] {
      Loop loop;
      const auto device = loop.run(
          FileDevice::open(folder_.file("disk"), {.writable = true, .cache = GetParam().cache}));
      std::vector<Task<void>> tasks;
      for (Request& request : requests) tasks.push_back(make_and_tell(device.get(), &request));
      tasks.push_back(flush_and_tell(device.get(), &is_flushed));
      faults::MemoryFaults::begin_at(n);
      try {
        loop.run(when_all(std::move(tasks)));
      } catch (const std::exception&) {
        // A task for which there was no memory at all.
      }
      count_ = faults::MemoryFaults::asked();
      faults::MemoryFaults::end();
      // The device still works.
      loop.run(device->flush());
      loop.run(device->close());
    }).join();
    failures_ += static_cast<uint64_t>(std::ranges::count(requests, false, &Request::is_done));
    if (!is_flushed) ++failures_;
    const Contents file = folder_.contents("disk");
    ASSERT_EQ(file.size(), before_.size());
    for (const Request& request : requests) {
      expect_share(request, file);
      if (request.kind != kRead) continue;
      if (request.is_done) {
        EXPECT_EQ(request.memory, pattern(request.offset, request.memory.size(), 1));
      } else {
        EXPECT_TRUE(std::ranges::all_of(request.memory, [](uint8_t byte) {
          return byte == kGivenBack || byte == 0xee;
        })) << "memory is read into after its request failed";
      }
    }
  }

  test::TemporaryFolder folder_;
  const Contents before_ = pattern(0, kSize, 1);
  uint64_t count_ = 0;
  uint64_t failures_ = 0;
};

constexpr uint64_t kTries = 20;

TEST_P(StorageAllocationFaults, ARequestIsDoneOrFailsAndItsMemoryIsLeftAlone) {
  if (const std::string why = refusal(); !why.empty()) {
    std::cout << "SKIPPED, the host refuses it: " << why << "\n";
    GTEST_SKIP() << why;
  }
  run(0);
  EXPECT_EQ(failures_, 0u);
  const uint64_t count = count_;
  ASSERT_GT(count, 0u);  // the number depends on the current contents of the page cache
  const uint64_t step = std::max<uint64_t>(count / kTries, 1);
  for (uint64_t n = 1; n <= count && !HasFailure(); n += step) {
    SCOPED_TRACE(testing::Message() << "allocation " << n);
    const uint64_t failures = failures_;
    run(n);
    // One failed allocation fails one request, or the frame that all of them run in.
    const uint64_t failed = failures_ - failures;
    EXPECT_TRUE(failed <= 1 || failed == kRequests + 1) << failed;
  }
  EXPECT_GT(failures_, 0u);
}

INSTANTIATE_TEST_SUITE_P(All, StorageAllocationFaults,
                         testing::Values(Way{"auto", CacheMode::kWriteback},
                                         Way{"auto", CacheMode::kNone},
                                         Way{"uring,nocache", CacheMode::kWriteback},
                                         Way{"uring,nocache", CacheMode::kNone},
                                         Way{"threads,nocache", CacheMode::kWritethrough},
                                         Way{"threads,nocache", CacheMode::kNone}));

}  // namespace
}  // namespace byre::storage

#endif
