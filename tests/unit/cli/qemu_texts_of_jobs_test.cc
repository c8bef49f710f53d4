// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "qemu_text_case.h"

namespace byre::cli {
namespace {

const std::vector<QemuTextCase>& cases() {
  static const std::vector<QemuTextCase> all = {
      {{.code = "compare-read-failed", .offset = 512, .file = "b"},
       "Error while reading offset 512 of b: Input/output error",
       EIO},
      {{.code = "compare-extents-unreadable", .offset = 0, .file = "b"},
       "Sector allocation test failed for b",
       EIO},
      {{.code = "amend-compat-unknown", .name = "0.9"}, "Unknown compatibility level 0.9"},
      {{.code = "amend-not-encrypted"}, "Can't amend encryption options - encryption not present"},
      {{.code = "amend-no-data-file"},
       "data-file can only be set for images that use an external data file"},
      {{.code = "amend-data-file-not-raw"}, "data-file-raw cannot be set on existing images"},
      {{.code = "amend-refcount-bits-wrong", .value = 3},
       "Refcount width must be a power of two and may not exceed 64 bits"},
      {{.code = "amend-refcount-bits-in-version-2", .value = 8},
       "Refcount widths other than 16 bits require compatibility level 1.1 or above (use "
       "compat=1.1 or greater)"},
      {{.code = "amend-backing-file-changed"},
       "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead."},
      {{.code = "amend-lazy-refcounts-in-version-2"},
       "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or "
       "greater)"},
      {{.code = "commit-copy-failed", .offset = 512},
       "Block job failed: No space left on device",
       ENOSPC},
      {{.code = "resize-size-impossible"}, "New image size must be positive"},
      {{.code = "resize-preallocates-nothing"},
       "Preallocation can only be used for growing images"},
      {{.code = "resize-of-device", .file = "d"}, "Cannot resize device files"},
      {{.code = "bench-past-end", .offset = 1}, "Input/output error", EIO},
      {{.code = "bench-native-io-not-direct", .file = "d"},
       "Could not open 'd': aio=native was specified, but it requires cache.direct=on, which was "
       "not specified."},
      {{.code = "resize-shrinks"}, "Use the --shrink option to perform a shrink operation."},
      {{.code = "commit-without-backing"}, "Image does not have a backing file"},
      {{.code = "rebase-format-unknown", .text = "x"}, "Invalid format name: 'x'"},
      {{.code = "rebase-onto-itself", .name = "a", .file = "b"}, "Image 'b' refers to itself"},
      {{.code = "rebase-format-missing", .name = "b"},
       "Could not change the backing file to 'b': backing format must be specified"},
      {{.code = "rebase-header-full", .name = "b"},
       "Could not change the backing file to 'b': No space left in the file header",
       ENOSPC},
      {{.code = "rebase-name-refused", .name = "b"},
       "Could not change the backing file to 'b': Operation not supported",
       ENOTSUP},
      {{.code = "rebase-old-unreadable"}, "error while reading from old backing file", EIO},
      {{.code = "rebase-new-unreadable"}, "error while reading from new backing file", EIO},
      {{.code = "rebase-write-failed"},
       "Error while writing to COW image: Input/output error",
       EIO},
      {{.code = "rebase-extents-unreadable"},
       "error while reading image metadata: Input/output error",
       EIO},
      {{.code = "commit-base-not-in-chain", .name = "b", .file = "t"},
       "Did not find 'b' in the backing chain of 't'"},
      {{.code = "convert-extents-unreadable", .offset = 65536},
       "error while reading block status at offset 65536: Input/output error",
       EIO},
      {{.code = "convert-write-failed", .offset = 65536},
       "error while writing at byte 65536: No space left on device",
       ENOSPC},
      {{.code = "convert-kept-unreadable", .offset = 7},
       "error while reading at byte 7: Input/output error",
       EIO},
      {{.code = "convert-read-failed", .offset = 0},
       "error while reading at byte 0: Input/output error",
       EIO},
      {{.code = "convert-snapshot-of-several", .value = 2},
       "No support for concatenating multiple snapshot"},
      {{.code = "convert-cache-mode-unknown", .text = "x", .name = "source cache"},
       "Invalid source cache option: x"},
      {{.code = "convert-not-compressible"}, "Compression not supported for this file format"},
      {{.code = "convert-backing-file-of-several", .value = 2},
       "Having a backing file for the target makes no sense when concatenating multiple input "
       "images"},
      {{.code = "convert-backing-format-missing"},
       "Use of backing file requires explicit backing format"},
      {{.code = "convert-compression-with-preallocation"},
       "Compression and preallocation not supported at the same time"},
      {{.code = "convert-zero-target-with-backing-file"},
       "Cannot use --target-is-zero when the destination image has a backing file"},
      {{.code = "convert-target-too-small"}, "output file is smaller than input file"},
      {{.code = "create-extent-size-hint-too-large"}, "Extent size hint is too large"},
      {{.code = "create-backing-file-is-image", .file = "a"},
       "Error: Trying to create an image with the same filename as the backing file"},
      {{.code = "create-backing-format-missing", .text = "raw", .name = "b"},
       "Backing file specified without backing format\nDetected format of raw."},
      {{.code = "create-backing-format-unknown", .name = "b"},
       "Backing file specified without backing format"},
      {{.code = "create-backing-file-empty"}, "Expected backing file name, got empty string"},
      {{.code = "create-size-repeated"}, "The image size must be specified only once"},
      {{.code = "create-size-missing"}, "Image creation needs a size parameter"},
      {{.code = "create-raw-size-too-large", .file = "a"},
       "The image size is too large for file format 'raw'",
       EFBIG},
      {{.code = "dd-read-failed", .offset = 0},
       "error while reading from input image file: Input/output error",
       EIO},
      {{.code = "dd-write-failed", .offset = 0},
       "error while writing to output image file: No space left on device",
       ENOSPC},
      {{.code = "dd-format-unknown", .text = "x"}, "Unknown file format"},
      {{.code = "format-without-snapshots"}, "Block driver does not support snapshots", ENOTSUP},
      {{.code = "format-without-vm-state"}, "Operation not supported", ENOTSUP},
      {{.code = "info-backing-chain-endless", .name = "b"},
       "Backing file 'b' creates an infinite loop."},
  };
  return all;
}

TEST(QemuTextsOfJobs, EachCodeHasQemusWords) {
  expect_rows(cases(), qemu_texts_of_jobs());
  expect_texts(cases());
}

}  // namespace
}  // namespace byre::cli
