// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "async/loop.h"
#include "base/assert.h"
#include "byre/error.h"
#include "fuzz/fuzz_input.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"
#include "support/guest_view.h"

// The bytes are changes of a whole image, and the image: snapshots are created, applied and deleted,
// the disk is resized and emptied, the properties of the image change. Each ends with a result or an
// error, in bounded time and memory. An image without corruptions stays without, and what its guest
// reads changes only where a change says so.
namespace {

using namespace byre;
using qcow2::test::GuestView;
using qcow2::test::open_for_check;
using qcow2::test::view_guest;

constexpr uint64_t kViewMax = 1 << 20;
constexpr uint64_t kDiskMax = 64 << 20;
constexpr size_t kChangesMax = 8;

std::optional<qcow2::CheckResult> checked(Loop* loop, const storage::MemoryDevice& file) {
  try {
    const std::unique_ptr<qcow2::Image> image = loop->run(open_for_check(file.clone()));
    return loop->run(qcow2::check(*image, {.findings_max = 0}));
  } catch (const Error&) {
    return std::nullopt;
  }
}

bool is_sound(const std::optional<qcow2::CheckResult>& result) {
  return result && result->corruptions == 0 && result->check_errors == 0;
}

// The disk that the change leaves the same.
bool keeps_disk(uint8_t kind) {
  return kind % 8 == 0 || kind % 8 == 2 || kind % 8 >= 5;
}

Task<void> change(qcow2::Image* image, uint8_t kind, uint16_t number) {
  qcow2::SnapshotSelector selector;
  const std::vector<qcow2::layout::Snapshot>& snapshots = image->snapshots();
  if (!snapshots.empty()) selector.id = snapshots[number % snapshots.size()].id;
  switch (kind % 8) {
    case 0: {
      qcow2::NewSnapshot snapshot;
      snapshot.name = "new";
      co_await image->create_snapshot(std::move(snapshot));
      break;
    }
    case 1:
      if (selector.id) co_await image->apply_snapshot(std::move(selector));
      break;
    case 2:
      if (selector.id) co_await image->delete_snapshot(std::move(selector));
      break;
    case 3:
      co_await image->resize(uint64_t{number} * 512, Preallocation::kOff);
      break;
    case 4:
      co_await image->make_empty();
      break;
    case 5:
      if (image->header().version >= 3) {
        co_await image->set_refcount_bits(1u << number % 7, nullptr);
      }
      break;
    case 6:
      co_await image->upgrade();
      break;
    default:
      co_await image->downgrade(number % 2 != 0, nullptr);
      break;
  }
}

Task<std::unique_ptr<qcow2::Image>> open_writable(std::unique_ptr<BlockDevice> file) {
  qcow2::OpenOptions options;
  options.writable = true;
  co_return co_await qcow2::Image::open(std::move(file), std::move(options));
}

// Performs the changes of the input; whether the guest still reads the same.
Task<bool> change_all(qcow2::Image* image, fuzz::FuzzInput* input, size_t count) {
  bool is_same = true;
  for (size_t i = 0; i < count; ++i) {
    const uint8_t kind = input->byte();
    const uint16_t number = input->word();
    is_same = is_same && keeps_disk(kind);
    try {
      co_await change(image, kind, number);
    } catch (const Error& error) {
      BYRE_ASSERT(!error.message().empty());
    }
  }
  co_return is_same;
}

Task<void> close(qcow2::Image* image) {
  try {
    co_await image->close();
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
  }
}

void run(fuzz::FuzzInput input) {
  Loop loop({.seed = 1});
  const size_t count = 1 + input.byte() % kChangesMax;
  fuzz::FuzzInput changes = input;
  for (size_t i = 0; i < 3 * count; ++i) input.byte();
  auto file = std::make_unique<storage::MemoryDevice>(input.rest());
  storage::MemoryDevice* const memory = file.get();
  const bool was_sound = is_sound(checked(&loop, *memory));
  std::unique_ptr<qcow2::Image> image;
  try {
    image = loop.run(open_writable(std::move(file)));
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
    return;
  }
  if (image->size() > kDiskMax) return;
  const GuestView before = loop.run(view_guest(image.get(), 4096, kViewMax));
  const bool keeps = loop.run(change_all(image.get(), &changes, count));
  if (was_sound && keeps) {
    BYRE_ASSERT(loop.run(view_guest(image.get(), 4096, kViewMax)) == before);
  }
  loop.run(close(image.get()));
  const std::unique_ptr<storage::MemoryDevice> left = memory->clone();
  image.reset();
  if (was_sound) BYRE_ASSERT(is_sound(checked(&loop, *left)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run(fuzz::FuzzInput(ConstBytes(data, size)));
  return 0;
}
