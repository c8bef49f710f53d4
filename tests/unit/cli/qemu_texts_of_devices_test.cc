// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "qemu_text_case.h"

namespace byre::cli {
namespace {

const std::vector<QemuTextCase>& cases() {
  static const std::vector<QemuTextCase> all = {
      {{.code = "null-device-not-resized"}, "Image format driver does not support resize"},
      {{.code = "size-beyond-offsets",
        .value = 9223372036854774784u,
        .bound = 9223372035781033984u},
       "offset(9223372036854774784) exceeds maximum(9223372035781033984)"},
      {{.code = "device-too-small", .value = 2, .bound = 1, .file = "d"},
       "Cannot grow device files"},
      {{.code = "device-preallocation", .text = "falloc", .file = "d"},
       "Preallocation mode 'falloc' unsupported for this non-regular file",
       ENOTSUP},
      {{.code = "device-detect-zeroes-without-discard"},
       "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"},
      {{.code = "luks-text-without-end", .field = "cipher name"},
       "LUKS header cipher name is not NUL terminated"},
      {{.code = "luks-cipher-mode-invalid", .text = "xts"},
       "Unexpected cipher mode string format 'xts'"},
      {{.code = "luks-key-slot-state-invalid", .index = 7},
       "Keyslot 7 state (active/disable) is corrupted"},
      {{.code = "luks-magic-wrong"}, "Volume is not in LUKS format"},
      {{.code = "luks-version-unknown", .value = 2}, "LUKS version 2 is not supported"},
      {{.code = "luks-key-too-long", .value = 65}, "LUKS key of 65 bytes is not supported"},
      {{.code = "file-no-medium"}, "No medium found", ENOMEDIUM},
      {{.code = "file-read-failed"}, "Input/output error", EIO},
      {{.code = "file-write-failed"}, "No space left on device", ENOSPC},
      {{.code = "file-flush-failed"}, "Input/output error", EIO},
      {{.code = "file-zeroing-failed"}, "No space left on device", ENOSPC},
      {{.code = "file-discard-failed"}, "Input/output error", EIO},
      {{.code = "file-reservation-failed"}, "No space left on device", ENOSPC},
      {{.code = "file-close-failed"}, "Input/output error", EIO},
      {{.code = "file-copy-failed"}, "Input/output error", EIO},
      {{.code = "file-without-direct-io", .text = "none"}, "filesystem does not support O_DIRECT"},
      {{.code = "file-device-read-only"}, "The device is not writable: Permission denied", EACCES},
      {{.code = "file-not-regular", .file = "d"},
       "'file' driver requires 'd' to be a regular file"},
      {{.code = "file-not-device", .name = "host_cdrom", .file = "f"},
       "'host_cdrom' driver requires 'f' to be either a character or block device"},
      {{.code = "file-end-unknown"}, "Could not refresh total sector count: Invalid argument"},
      {{.code = "file-name-empty"}, "The 'file' block driver requires a file name"},
      {{.code = "file-preallocation-unsupported", .text = "metadata"},
       "Unsupported preallocation mode: metadata"},
      {{.code = "file-shrink-with-preallocation"}, "Cannot use preallocation for shrinking files"},
      {{.code = "file-size-too-large"}, "Could not resize file: File too large", EFBIG},
      {{.code = "file-zeroes-not-written"},
       "Could not write zeros for preallocation: No space left on device",
       ENOSPC},
      {{.code = "file-space-not-reserved"},
       "Could not preallocate new data: File too large",
       EFBIG},
      {{.code = "file-not-resized"}, "Could not resize file: File too large", EFBIG},
      {{.code = "file-permission-in-use", .name = "write", .file = "f"},
       "Failed to get shared \"write\" lock\nIs another process using the image [f]?"},
      {{.code = "file-permission-refused", .name = "resize", .file = "f"},
       "Failed to get \"resize\" lock\nIs another process using the image [f]?"},
      {{.code = "file-locks-unsupported", .offset = 100},
       "Failed to lock byte 100: No locks available",
       ENOLCK},
      {{.code = "file-locked-exclusively", .offset = 201}, "Failed to lock byte 201", EAGAIN},
      {{.code = "memory-size-too-large"}, "Failed to resize the file: File too large", EFBIG},
      {{.code = "raw-format-guessed", .name = "a.raw"},
       "WARNING: Image format was not specified for 'a.raw' and probing guessed raw.\n         "
       "Automatically detecting the format is dangerous for raw images, write operations on block "
       "0 will be restricted.\n         Specify the 'raw' format explicitly to remove the "
       "restrictions."},
  };
  return all;
}

TEST(QemuTextsOfDevices, EachCodeHasQemusWords) {
  expect_rows(cases(), qemu_texts_of_devices());
  expect_texts(cases());
}

}  // namespace
}  // namespace byre::cli
