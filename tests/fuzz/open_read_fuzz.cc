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
#include "qcow2/image/image.h"
#include "storage/memory_device.h"

// The bytes are an image. Opening it, querying its contents, and reading it end in an error or in
// bytes: the same bytes however the requests are split, and zeroes where the image reports zeroes.
// A backing file and an external data file exist if the image names them.
namespace {

using namespace byre;

// How many bytes of a disk are read, from its start, and how many lists of extents are queried.
constexpr uint64_t kReadMax = 40 << 10;
constexpr int kExtentAnswersMax = 16;
constexpr uint64_t kOtherFileSize = 17000;

std::unique_ptr<BlockDevice> other_file() {
  static const std::vector<uint8_t> bytes(kOtherFileSize, 0x5a);
  return std::make_unique<storage::MemoryDevice>(ConstBytes(bytes));
}

// nullopt if the image returns an error.
Task<std::optional<std::vector<uint8_t>>> read(BlockDevice* device, uint64_t offset,
                                               uint64_t length, uint64_t step) {
  std::vector<uint8_t> bytes(length, 0xee);
  try {
    for (uint64_t done = 0; done < length; done += step) {
      const ReadBuffers part(Bytes(bytes).subspan(done, std::min(step, length - done)));
      co_await device->read(offset + done, part);
    }
  } catch (const Error&) {
    co_return std::nullopt;
  }
  co_return bytes;
}

Task<void> check_extents(BlockDevice* device, ExtentScope scope,
                         const std::optional<std::vector<uint8_t>>* contents) {
  uint64_t offset = 0;
  for (int answers = 0; answers < kExtentAnswersMax && offset < device->size(); ++answers) {
    const std::vector<Extent> extents =
        co_await device->extents(offset, device->size() - offset, scope);
    BYRE_ASSERT(!extents.empty());
    for (const Extent& extent : extents) {
      BYRE_ASSERT(extent.offset == offset && extent.length > 0);
      BYRE_ASSERT(extent.length <= device->size() - offset);
      BYRE_ASSERT(extent.host_offset.has_value() == (extent.file != nullptr));
      if (extent.zero && *contents && offset < (*contents)->size()) {
        const uint64_t length = std::min(extent.length, (*contents)->size() - offset);
        BYRE_ASSERT(is_all_zero(ConstBytes(**contents).subspan(offset, length)));
      }
      offset += extent.length;
    }
  }
}

Task<void> read_image(qcow2::Image* image) {
  const uint64_t length = std::min(image->size(), kReadMax);
  const auto whole = co_await read(image, 0, length, kReadMax);
  const auto pieces = co_await read(image, 0, length, 7001);
  BYRE_ASSERT(whole == pieces);
  const uint64_t tail = std::min<uint64_t>(image->size(), 5000);
  co_await read(image, image->size() - tail, tail, tail);
  for (const ExtentScope scope : {ExtentScope::kChain, ExtentScope::kLayer}) {
    co_await check_extents(image, scope, &whole);
  }
}

Task<std::unique_ptr<qcow2::Image>> open_image(const std::vector<uint8_t>* bytes,
                                               qcow2::OpenOptions options) {
  auto file = std::make_unique<storage::MemoryDevice>(ConstBytes(*bytes));
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file), std::move(options));
  if (!image->backing_filename().empty()) image->set_backing(other_file());
  if (image->has_external_data_file()) image->set_data_file(other_file());
  co_return image;
}

Task<void> run(const std::vector<uint8_t>* bytes, qcow2::OpenOptions options, bool snapshot) {
  try {
    std::unique_ptr<qcow2::Image> image = co_await open_image(bytes, std::move(options));
    if (snapshot) {
      if (image->snapshots().empty()) co_return;
      qcow2::SnapshotSelector selector;
      selector.id_or_name = image->snapshots().front().name;
      co_await image->load_snapshot(std::move(selector));
    }
    co_await read_image(image.get());
    co_await image->close();
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
  }
}

}  // namespace

// The last byte of the image chooses what is read: the active disk, its first snapshot, or a
// checker's view.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<uint8_t> bytes(data, data + size);
  const uint8_t choice = bytes.back() % 4;
  Loop loop({.seed = 1});
  loop.run(run(&bytes, {.for_check = choice == 3}, choice == 2));
  return 0;
}
