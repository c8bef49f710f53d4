// SPDX-License-Identifier: Apache-2.0
// The refusals of src/jobs.
#include "cli/qemu_text.h"

namespace byre::cli {
namespace {

constexpr QemuText kTexts[] = {
    {"amend-compat-unknown", "Unknown compatibility level {name}"},
    {"amend-not-encrypted", "Can't amend encryption options - encryption not present"},
    {"amend-no-data-file", "data-file can only be set for images that use an external data file"},
    {"amend-data-file-not-raw", "data-file-raw cannot be set on existing images"},
    {"amend-refcount-bits-wrong",
     "Refcount width must be a power of two and may not exceed 64 bits"},
    {"amend-refcount-bits-in-version-2",
     "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 "
     "or greater)"},
    {"amend-backing-file-changed",
     "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead."},
    {"amend-lazy-refcounts-in-version-2",
     "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or "
     "greater)"},
    {"compare-read-failed", "Error while reading offset {offset} of {file}: {errno}"},
    {"compare-extents-unreadable", "Sector allocation test failed for {file}"},
    {"resize-size-impossible", "New image size must be positive"},
    {"resize-preallocates-nothing", "Preallocation can only be used for growing images"},
    {"resize-of-device", "Cannot resize device files"},
    {"bench-past-end", "{errno}"},
    {"bench-native-io-not-direct",
     "Could not open '{file}': aio=native was specified, but it requires cache.direct=on, which "
     "was "
     "not specified."},
    {"resize-shrinks", "Use the --shrink option to perform a shrink operation."},
    {"commit-without-backing", "Image does not have a backing file"},
    {"commit-copy-failed", "Block job failed: {errno}"},
    {"commit-base-not-in-chain", "Did not find '{name}' in the backing chain of '{file}'"},
    {"rebase-format-unknown", "Invalid format name: '{text}'"},
    {"rebase-onto-itself", "Image '{file}' refers to itself"},
    {"rebase-format-missing",
     "Could not change the backing file to '{name}': backing format must be specified"},
    {"rebase-header-full",
     "Could not change the backing file to '{name}': No space left in the file header"},
    {"rebase-name-refused", "Could not change the backing file to '{name}': {errno}"},
    {"rebase-old-unreadable", "error while reading from old backing file"},
    {"rebase-new-unreadable", "error while reading from new backing file"},
    {"rebase-write-failed", "Error while writing to COW image: {errno}"},
    {"rebase-extents-unreadable", "error while reading image metadata: {errno}"},
    {"convert-extents-unreadable", "error while reading block status at offset {offset}: {errno}"},
    {"convert-write-failed", "error while writing at byte {offset}: {errno}"},
    {"convert-kept-unreadable", "error while reading at byte {offset}: {errno}"},
    {"convert-read-failed", "error while reading at byte {offset}: {errno}"},
    {"convert-snapshot-of-several", "No support for concatenating multiple snapshot"},
    {"convert-cache-mode-unknown", "Invalid {name} option: {text}"},
    {"convert-not-compressible", "Compression not supported for this file format"},
    {"convert-backing-file-of-several",
     "Having a backing file for the target makes no sense when concatenating multiple input "
     "images"},
    {"convert-backing-format-missing", "Use of backing file requires explicit backing format"},
    {"convert-compression-with-preallocation",
     "Compression and preallocation not supported at the same time"},
    {"convert-zero-target-with-backing-file",
     "Cannot use --target-is-zero when the destination image has a backing file"},
    {"convert-target-too-small", "output file is smaller than input file"},
    {"create-extent-size-hint-too-large", "Extent size hint is too large"},
    {"create-backing-file-is-image",
     "Error: Trying to create an image with the same filename as the backing file"},
    {"create-backing-format-missing",
     "Backing file specified without backing format\nDetected format of {text}."},
    {"create-backing-format-unknown", "Backing file specified without backing format"},
    {"create-backing-file-empty", "Expected backing file name, got empty string"},
    {"create-size-repeated", "The image size must be specified only once"},
    {"create-size-missing", "Image creation needs a size parameter"},
    {"create-raw-size-too-large", "The image size is too large for file format 'raw'"},
    {"dd-read-failed", "error while reading from input image file: {errno}"},
    {"dd-write-failed", "error while writing to output image file: {errno}"},
    {"dd-format-unknown", "Unknown file format"},
    {"format-without-snapshots", "Block driver does not support snapshots"},
    {"format-without-vm-state", "{errno}"},
    {"info-backing-chain-endless", "Backing file '{name}' creates an infinite loop."},
};

}  // namespace

std::span<const QemuText> qemu_texts_of_jobs() {
  return kTexts;
}

}  // namespace byre::cli
