// SPDX-License-Identifier: Apache-2.0
#include "jobs/vm_state.h"

#include <cerrno>
#include <utility>

#include "byre/error.h"
#include "open/open.h"

namespace byre::jobs {
namespace {

qcow2::Image& image_of(BlockDevice& device) {
  qcow2::Image* const image = open::as_qcow2(&device);
  if (image != nullptr) return *image;
  throw Error(
      ErrorKind::kUnsupported, ENOTSUP,
      ErrorData{
          .code = "format-without-vm-state", .name = device.driver(), .file = device.filename()},
      "only qcow2 images have a VM state area");
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

}  // namespace byre::jobs
