// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "byre/error.h"
#include "qcow2/check/check.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_check.h"
#include "qcow2/image/image_parts.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"
#include "unit/support/pattern.h"

// An image in memory that a test writes to, with its checks.
namespace byre::qcow2::test {

using byre::test::pattern;

// Bytes that compress well and still identify their offset.
inline std::vector<uint8_t> compressible(uint64_t offset, size_t length, uint64_t seed) {
  std::vector<uint8_t> bytes(length);
  for (size_t i = 0; i < length; ++i) {
    bytes[i] = static_cast<uint8_t>(((offset + i) >> 9) + seed);
  }
  return bytes;
}

struct Layout {
  CreateOptions create;
  std::optional<uint64_t> backing_size;
  bool compresses = true;
};

inline Layout layout_of(uint64_t size, uint64_t cluster_size) {
  Layout layout;
  layout.create.size = size;
  layout.create.cluster_size = cluster_size;
  return layout;
}

inline std::vector<uint8_t> backing_bytes(uint64_t size) {
  return pattern(0, size, 77);
}

// The devices of an image, which outlive it: a test can damage or examine them from outside.
struct Disks {
  std::unique_ptr<storage::MemoryDevice> file = std::make_unique<storage::MemoryDevice>();
  std::unique_ptr<storage::MemoryDevice> data;  // nullptr: no external data file
};

inline Task<void> create_on(Disks* disks, CreateOptions options) {
  if (options.data_filename) disks->data = std::make_unique<storage::MemoryDevice>();
  co_await create(*disks->file, disks->data.get(), options);
}

inline Disks make_disks(const Layout& setup) {
  Disks disks;
  sync_wait(create_on(&disks, setup.create));
  return disks;
}

// An image opened for writing on fault devices over the disks, which it then owns.
struct OpenImage {
  std::unique_ptr<Image> image;
  ImageParts* parts = nullptr;  // of the image
  faults::FaultDevice* file = nullptr;
  faults::FaultDevice* data = nullptr;
  storage::MemoryDevice* file_memory = nullptr;
  storage::MemoryDevice* data_memory = nullptr;

  // The current contents of the files, as a killed process leaves them.
  Disks snapshot() const {
    Disks disks;
    disks.file = file_memory->clone();
    if (data_memory != nullptr) disks.data = data_memory->clone();
    return disks;
  }
};

inline Task<OpenImage> open_disks(Disks disks, std::optional<uint64_t> backing_size,
                                  OpenOptions options) {
  OpenImage opened;
  opened.file_memory = disks.file.get();
  auto file = std::make_unique<faults::FaultDevice>(std::move(disks.file));
  opened.file = file.get();
  std::unique_ptr<ImageParts> parts =
      co_await ImageParts::open(std::move(file), std::move(options));
  opened.parts = parts.get();
  opened.image = std::make_unique<Image>(std::move(parts));
  if (disks.data) {
    opened.data_memory = disks.data.get();
    auto data = std::make_unique<faults::FaultDevice>(std::move(disks.data));
    opened.data = data.get();
    opened.image->set_data_file(std::move(data));
  }
  if (backing_size) {
    const std::vector<uint8_t> bytes = backing_bytes(*backing_size);
    opened.image->set_backing(std::make_unique<storage::MemoryDevice>(ConstBytes(bytes)));
  }
  co_return opened;
}

inline OpenOptions for_writing() {
  OpenOptions options;
  options.writable = true;
  return options;
}

inline Task<std::vector<uint8_t>> read_all(Image* image) {
  std::vector<uint8_t> bytes(image->size());
  const ReadBuffers to((Bytes(bytes)));
  co_await image->read(0, to);
  co_return bytes;
}

inline Task<std::vector<uint8_t>> read_disks(Disks disks, std::optional<uint64_t> backing_size) {
  const OpenOptions options;
  OpenImage opened = co_await open_disks(std::move(disks), backing_size, options);
  std::vector<uint8_t> bytes = co_await read_all(opened.image.get());
  co_await opened.image->close();
  co_return bytes;
}

inline Task<CheckResult> check_disks(Disks disks, std::string* findings) {
  OpenOptions options;
  options.for_check = true;
  OpenImage opened = co_await open_disks(std::move(disks), std::nullopt, options);
  CheckOptions check_options;
  check_options.on_finding = [findings](const Finding& finding) {
    if (findings->size() < 2000) *findings += problem_of(finding).message() + "\n";
  };
  const CheckResult result = co_await check(*opened.image, check_options);
  co_await opened.image->close();
  co_return result;
}

// Expects no corruption, and no leaks unless they are allowed.
inline void expect_sound(const Disks& disks, bool allow_leaks) {
  Disks copy;
  copy.file = disks.file->clone();
  if (disks.data) copy.data = disks.data->clone();
  std::string findings;
  const CheckResult result = sync_wait(check_disks(std::move(copy), &findings));
  EXPECT_EQ(result.corruptions, 0u) << findings;
  EXPECT_EQ(result.check_errors, 0u) << findings;
  if (!allow_leaks) EXPECT_EQ(result.leaks, 0u) << findings;
}

inline Disks clone(const Disks& disks) {
  Disks copy;
  copy.file = disks.file->clone();
  if (disks.data) copy.data = disks.data->clone();
  return copy;
}

// The contents that the guest should see.
class Model {
 public:
  explicit Model(const Layout& setup) : bytes_(align_up(setup.create.size, 512)) {
    if (!setup.backing_size) return;
    const std::vector<uint8_t> backing = backing_bytes(*setup.backing_size);
    std::copy_n(backing.begin(), std::min(backing.size(), bytes_.size()), bytes_.begin());
  }
  std::vector<uint8_t>& bytes() { return bytes_; }
  uint64_t size() const { return bytes_.size(); }
  void put(uint64_t offset, const std::vector<uint8_t>& bytes) {
    std::copy(bytes.begin(), bytes.end(), bytes_.begin() + static_cast<ptrdiff_t>(offset));
  }
  void zero(uint64_t offset, uint64_t length) {
    std::fill_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), length, uint8_t{0});
  }

 private:
  std::vector<uint8_t> bytes_;
};

// The offset of the first difference, or nullopt.
inline std::optional<uint64_t> first_difference(const std::vector<uint8_t>& a,
                                                const std::vector<uint8_t>& b) {
  if (a == b) return std::nullopt;
  if (a.size() != b.size()) return std::min(a.size(), b.size());
  const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin());
  return static_cast<uint64_t>(x - a.begin());
}

}  // namespace byre::qcow2::test
