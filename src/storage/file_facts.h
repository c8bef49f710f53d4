// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "block/file_identity.h"

namespace byre::storage {

// How a host file is opened, QEMU's drivers: as a regular file, as a device, as a drive whose disc
// may be missing.
enum class HostDriver : uint8_t { kFile, kHostDevice, kHostCdrom };
// QEMU's names: "file", "host_device", "host_cdrom".
const char* host_driver_name(HostDriver driver);

// What the host reports about an open descriptor.
struct FileFacts {
  HostDriver driver = HostDriver::kFile;
  bool is_host_device = false;  // a block device, or a character device such as /dev/null
  bool is_block_device = false;
  uint64_t size = 0;
  // Past it the file has no space on the host yet; `size` if that is not known.
  uint64_t untouched_from = 0;
  FileIdentity identity;
  uint32_t space_alignment = 1;    // of ranges to discard or to zero without writing
  uint32_t request_alignment = 1;  // of transfers; above 1 only with O_DIRECT
  uint32_t memory_alignment = 1;
};

}  // namespace byre::storage
