// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "async/task.h"
#include "byre/error.h"
#include "qcow2/image/image.h"

namespace byre::qcow2::test {

// What the guest reads, piece by piece; nullopt: an error.
using GuestView = std::vector<std::optional<std::vector<uint8_t>>>;

inline Task<std::unique_ptr<Image>> open_for_check(std::unique_ptr<BlockDevice> file) {
  OpenOptions options;
  options.for_check = true;
  co_return co_await Image::open(std::move(file), std::move(options));
}

// The first `size_max` bytes of the disk.
inline Task<GuestView> view_guest(Image* image, uint64_t piece_size,
                                  uint64_t size_max = UINT64_MAX) {
  GuestView view;
  const uint64_t size = image->size();
  for (uint64_t at = 0; at < std::min(size, size_max); at += piece_size) {
    std::vector<uint8_t> bytes(std::min(piece_size, size - at));
    const ReadBuffers to((Bytes(bytes)));
    view.emplace_back();
    try {
      co_await image->read(at, to);
      view.back() = std::move(bytes);
    } catch (const Error&) {
    }
  }
  co_return view;
}

}  // namespace byre::qcow2::test
