// SPDX-License-Identifier: Apache-2.0
#include "block/fixed_size.h"

#include <fmt/format.h>

#include <cerrno>

namespace byre {

Error device_too_small(const BlockDevice& device, uint64_t size) {
  return Error(
      ErrorKind::kInvalidArgument, EINVAL,
      ErrorData{.code = "device-too-small",
                .field = "size",
                .value = size,
                .bound = device.size(),
                .file = device.filename()},
      fmt::format("{} bytes are needed; the device has {} and cannot grow", size, device.size()));
}

Error preallocation_on_device(const BlockDevice& device, Preallocation preallocation) {
  const char* const mode = preallocation_name(preallocation);
  return Error(ErrorKind::kUnsupported, ENOTSUP,
               ErrorData{.code = "device-preallocation",
                         .field = "preallocation",
                         .text = mode,
                         .file = device.filename()},
               fmt::format("preallocation is {}, which is only for files; this is a device", mode));
}

}  // namespace byre
