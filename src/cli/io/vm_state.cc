// SPDX-License-Identifier: Apache-2.0
#include "cli/io/vm_state.h"

#include <cerrno>
#include <string>

#include "byre/error.h"
#include "cli/io/command_line.h"
#include "open/open.h"

namespace byre::cli::io {
namespace {

constexpr uint64_t kSector = 512;

qcow2::Image& image_of(BlockDevice& device) {
  qcow2::Image* const image = open::as_qcow2(&device);
  if (image != nullptr) return *image;
  throw Error(ErrorKind::kUnsupported, ENOTSUP, errno_text(ENOTSUP),
              "only qcow2 images support VM state");
}

void check_sector(uint64_t value, const char* what) {
  if (value % kSector == 0) return;
  throw Refusal{std::to_string(value) + " is not a sector-aligned value for '" + std::string(what) +
                "'"};
}

}  // namespace

Task<void> read_vm_state(BlockDevice& device, uint64_t offset, ReadBuffers to) {
  qcow2::Image& image = image_of(device);
  co_await image.read_vm_state(offset, std::move(to));
}

Task<void> write_vm_state(BlockDevice& device, uint64_t offset, WriteBuffers from) {
  qcow2::Image& image = image_of(device);
  co_await image.write_vm_state(offset, std::move(from));
}

void check_sectors(int64_t offset, uint64_t length) {
  check_sector(static_cast<uint64_t>(offset), "offset");
  check_sector(length, "count");
}

}  // namespace byre::cli::io
