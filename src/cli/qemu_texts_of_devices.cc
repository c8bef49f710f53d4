// SPDX-License-Identifier: Apache-2.0
// The refusals of src/block, src/codec, src/open and src/storage.
#include "cli/qemu_text.h"

namespace byre::cli {
namespace {

// In the order of the files that throw them.
constexpr QemuText kTexts[] = {
    // block/
    {"null-device-not-resized", "Image format driver does not support resize"},
    {"size-beyond-offsets", "offset({value}) exceeds maximum({bound})"},
    {"device-too-small", "Cannot grow device files"},
    {"device-preallocation", "Preallocation mode '{text}' unsupported for this non-regular file"},
    {"device-detect-zeroes-without-discard",
     "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap"},
    // codec/luks_header.cc
    {"luks-text-without-end", "LUKS header {field} is not NUL terminated"},
    {"luks-cipher-mode-invalid", "Unexpected cipher mode string format '{text}'"},
    {"luks-key-slot-state-invalid", "Keyslot {index} state (active/disable) is corrupted"},
    {"luks-magic-wrong", "Volume is not in LUKS format"},
    {"luks-version-unknown", "LUKS version {value} is not supported"},
    {"luks-key-too-long", "LUKS key of {value} bytes is not supported"},
    // storage/file_device.cc
    {"file-no-medium", "{errno}"},
    {"file-read-failed", "{errno}"},
    {"file-write-failed", "{errno}"},
    {"file-flush-failed", "{errno}"},
    {"file-zeroing-failed", "{errno}"},
    {"file-discard-failed", "{errno}"},
    {"file-reservation-failed", "{errno}"},
    {"file-close-failed", "{errno}"},
    {"file-copy-failed", "{errno}"},
    // storage/file_device_open.cc
    {"file-without-direct-io", "filesystem does not support O_DIRECT"},
    {"file-device-read-only", "The device is not writable: {errno}"},
    {"file-not-regular", "'file' driver requires '{file}' to be a regular file"},
    {"file-not-device",
     "'{name}' driver requires '{file}' to be either a character or block device"},
    {"file-end-unknown", "Could not refresh total sector count: {errno}"},
    {"file-name-empty", "The 'file' block driver requires a file name"},
    // storage/file_device_resize.cc
    {"file-preallocation-unsupported", "Unsupported preallocation mode: {text}"},
    {"file-shrink-with-preallocation", "Cannot use preallocation for shrinking files"},
    {"file-size-too-large", "Could not resize file: {errno}"},
    {"file-zeroes-not-written", "Could not write zeros for preallocation: {errno}"},
    {"file-space-not-reserved", "Could not preallocate new data: {errno}"},
    {"file-not-resized", "Could not resize file: {errno}"},
    // storage/file_lock.cc
    {"file-permission-in-use",
     "Failed to get shared \"{name}\" lock\nIs another process using the image [{file}]?"},
    {"file-permission-refused",
     "Failed to get \"{name}\" lock\nIs another process using the image [{file}]?"},
    {"file-locks-unsupported", "Failed to lock byte {offset}: {errno}"},
    {"file-locked-exclusively", "Failed to lock byte {offset}"},
    // storage/memory_device.cc
    {"memory-size-too-large", "Failed to resize the file: {errno}"},
    // open/raw_driver.cc
    {"raw-format-guessed",
     "WARNING: Image format was not specified for '{name}' and probing guessed raw.\n"
     "         Automatically detecting the format is dangerous for raw images, write operations on "
     "block 0 will be restricted.\n"
     "         Specify the 'raw' format explicitly to remove the restrictions."},
};

}  // namespace

std::span<const QemuText> qemu_texts_of_devices() {
  return kTexts;
}

}  // namespace byre::cli
