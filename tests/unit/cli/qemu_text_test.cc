// SPDX-License-Identifier: Apache-2.0
// The expected texts are what qemu-img 10.0.2 prints.
#include "cli/qemu_text.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace byre::cli {
namespace {

struct Case {
  ErrorData data;
  const char* text;
  int errno_value = EINVAL;
};

Error error_of(const Case& each) {
  return Error(ErrorKind::kCorrupt, each.errno_value, each.data, "byre's own sentence");
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {{.code = "qcow2-magic-wrong"}, "Image is not in qcow2 format"},
      {{.code = "qcow2-version-unknown", .value = 4}, "Unsupported qcow2 version 4"},
      {{.code = "qcow2-cluster-size-invalid", .value = 22}, "Unsupported cluster size: 2^22"},
      {{.code = "qcow2-header-too-long"}, "qcow2 header exceeds cluster size"},
      {{.code = "qcow2-header-too-short"}, "qcow2 header too short"},
      {{.code = "qcow2-compression-type-unknown", .value = 9},
       "qcow2: unknown compression type: 9"},
      {{.code = "qcow2-compression-bit-set"},
       "qcow2: Compression type incompatible feature bit must not be set"},
      {{.code = "qcow2-compression-bit-clear"},
       "qcow2: Compression type incompatible feature bit must be set"},
      {{.code = "qcow2-features-unknown", .name = "dirty bit, Unknown incompatible feature: 40"},
       "Unsupported qcow2 feature(s): dirty bit, Unknown incompatible feature: 40"},
      {{.code = "qcow2-is-corrupt"}, "qcow2: Image is corrupt; cannot be opened read/write"},
      {{.code = "qcow2-subclusters-too-small", .value = 13}, "Unsupported subcluster size: 256"},
      {{.code = "qcow2-subclusters-too-small", .value = 9}, "Unsupported subcluster size: 16"},
      {{.code = "qcow2-refcounts-too-wide"},
       "Reference count entry width too large; may not exceed 64 bits"},
      {{.code = "qcow2-refcount-table-too-large"}, "Reference count table too large"},
      {{.code = "qcow2-refcount-table-missing"}, "Image does not contain a reference count table"},
      {{.code = "qcow2-refcount-table-offset-invalid"}, "Reference count table offset invalid"},
      {{.code = "qcow2-refcount-table-past-end"},
       "Could not initialize refcount handling: Input/output error",
       EIO},
      {{.code = "qcow2-l1-table-too-large"}, "Active L1 table too large"},
      {{.code = "qcow2-l1-table-offset-invalid"}, "Active L1 table offset invalid"},
      {{.code = "qcow2-l1-table-too-small"}, "L1 table is too small"},
      {{.code = "qcow2-l1-table-past-end"}, "Could not read L1 table: Input/output error", EIO},
      {{.code = "qcow2-size-impossible"},
       "Could not refresh total sector count: File too large",
       EFBIG},
      {{.code = "qcow2-size-too-large"}, "Image is too big"},
      {{.code = "qcow2-crypt-method-unknown", .value = 3}, "Unsupported encryption method 3"},
      {{.code = "qcow2-crypt-method-unknown", .value = 0xffffffff},
       "Unsupported encryption method -1"},
      {{.code = "qcow2-snapshots-too-many"}, "Snapshot table too large"},
      {{.code = "qcow2-snapshot-table-offset-invalid"}, "Snapshot table offset invalid"},
      {{.code = "qcow2-backing-offset-invalid"}, "Invalid backing file offset"},
      {{.code = "qcow2-backing-name-too-long"}, "Backing file name too long"},
      {{.code = "qcow2-header-too-large"}, "No space left on device", ENOSPC},
      {{.code = "qcow2-backing-format-too-long", .value = 1023, .bound = 15},
       "ERROR: ext_backing_format: len=1023 too large (>=16)"},
      {{.code = "qcow2-crypto-header-unexpected"},
       "CRYPTO header extension only expected with LUKS encryption method"},
      {{.code = "qcow2-crypto-header-size-wrong", .value = 8, .bound = 16},
       "CRYPTO header extension size 8, but expected size 16"},
      {{.code = "qcow2-crypto-header-offset-invalid", .value = 1, .bound = 65536},
       "Encryption header offset '1' is not a multiple of cluster size '65536'"},
      {{.code = "qcow2-crypto-header-missing", .value = 2},
       "Missing CRYPTO header for crypt method 2"},
      {{.code = "qcow2-extension-too-large"}, "Header extension too large"},
      {{.code = "qcow2-bitmaps-extension-size-wrong"}, "bitmaps_ext: Invalid extension length"},
      {{.code = "qcow2-bitmaps-in-version-2"},
       "This qcow2 v2 image contains bitmaps, but they may have been modified by a program without "
       "persistent bitmap support; so now they must all be considered inconsistent\nSome clusters "
       "may be leaked, run 'qemu-img check -r' on the image file to fix."},
      {{.code = "qcow2-bitmaps-stale"},
       "a program lacking bitmap support modified this file, so all bitmaps are now considered "
       "inconsistent\nSome clusters may be leaked, run 'qemu-img check -r' on the image file to "
       "fix."},
      {{.code = "qcow2-bitmap-directory-broken"}, "Broken bitmap directory"},
      {{.code = "qcow2-bitmap-table-past-end", .name = "b0"},
       "Could not read bitmap_table table from image for bitmap 'b0': Input/output error",
       EIO},
      {{.code = "qcow2-bitmap-table-size-wrong", .name = "b0"},
       "Could not read bitmap 'b0' from image: Invalid argument"},
      {{.code = "qcow2-bitmaps-reserved-not-zero"}, "bitmaps_ext: Reserved field is not zero"},
      {{.code = "qcow2-bitmaps-too-many", .value = 65536, .bound = 65535},
       "bitmaps_ext: Image has 65536 bitmaps, exceeding the QEMU supported maximum of 65535"},
      {{.code = "qcow2-bitmaps-none"}, "found bitmaps extension with zero bitmaps"},
      {{.code = "qcow2-bitmap-directory-offset-invalid"},
       "bitmaps_ext: invalid bitmap directory offset"},
      {{.code = "qcow2-bitmap-directory-too-large", .value = 67107841, .bound = 67107840},
       "bitmaps_ext: bitmap directory size (67107841) exceeds the maximum supported size "
       "(67107840)"},
      {{.code = "qcow2-bitmap-directory-empty"}, "Requested bitmap directory size is zero"},
      {{.code = "qcow2-bitmap-directory-past-end"},
       "Failed to read bitmap directory: Input/output error",
       EIO},
      {{.code = "qcow2-bitmaps-more-than-stated"},
       "More bitmaps found than specified in header extension"},
      {{.code = "qcow2-bitmaps-fewer-than-stated"},
       "Less bitmaps found than specified in header extension"},
      {{.code = "qcow2-bitmap-invalid", .name = ""}, "Bitmap '' doesn't satisfy the constraints"},
      {{.code = "qcow2-bitmap-invalid", .name = "{b0}"},
       "Bitmap '{b0}' doesn't satisfy the constraints"},
      {{.code = "qcow2-bitmap-name-repeated", .name = "a"}, "Bitmap already exists: a"},
      {{.code = "qcow2-snapshot-extra-data-too-large", .value = 1025, .index = 1},
       "Too much extra metadata in snapshot table entry 1"},
      {{.code = "qcow2-snapshot-l1-table-too-large"}, "Snapshot L1 table too large"},
      {{.code = "qcow2-snapshot-l1-table-offset-invalid"}, "Snapshot L1 table offset invalid"},
      {{.code = "qcow2-snapshot-l1-table-past-end"}, "Failed to read l1 table for snapshot"},
      {{.code = "qcow2-snapshot-table-past-end"},
       "Failed to read snapshot table: Input/output error",
       EIO},
      {{.code = "qcow2-snapshot-table-too-large"}, "Snapshot table is too big"},
      {{.code = "qcow2-snapshots-too-large"}, "Snapshot table too large"},
      {{.code = "qcow2-refuses-requests"}, "No medium found", ENOMEDIUM},
      {{.code = "qcow2-compressed-cluster-damaged"}, "Input/output error", EIO},
      {{.code = "qcow2-refcount-block-past-end"}, "Input/output error", EIO},
      {{.code = "qcow2-refcount-overflow"}, "Invalid argument", EINVAL},
      {{.code = "qcow2-refcount-table-full"}, "File too large", EFBIG},
      {{.code = "qcow2-host-offset-too-high"}, "File too large", EFBIG},
      {{.code = "qcow2-file-full"}, "No space left on device", ENOSPC},
      {{.code = "qcow2-snapshot-l2-tables-too-many"}, "Cannot allocate memory", ENOMEM},
      {{.code = "qcow2-zeroing-needs-write"}, "Operation not supported", ENOTSUP},
      {{.code = "qcow2-compressed-with-data-file"}, "Operation not supported", ENOTSUP},
      {{.code = "qcow2-compressed-write-unaligned"}, "Invalid argument", EINVAL},
      {{.code = "qcow2-compressed-offset-too-high"}, "File too large", EFBIG},
      {{.code = "qcow2-vm-state-too-large"}, "File too large", EFBIG},
      {{.code = "qcow2-extended-l2-in-version-2"},
       "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)"},
      {{.code = "qcow2-refcount-bits-in-version-2"},
       "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
       "version=v3 or greater)"},
      {{.code = "qcow2-backing-file-with-preallocation"},
       "Backing file and preallocation can only be used at the same time if extended_l2 is on"},
      {{.code = "qcow2-backing-format-alone"},
       "Backing format cannot be used without backing file"},
      {{.code = "qcow2-data-file-raw-alone"}, "data-file-raw requires data-file"},
      {{.code = "qcow2-data-file-raw-with-backing-file"},
       "Backing file and data-file-raw cannot be used at the same time"},
      {{.code = "qcow2-data-file-in-version-2"},
       "External data files are only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)"},
      {{.code = "qcow2-size-negative"}, "Could not resize image: Image size cannot be negative"},
      {{.code = "qcow2-size-beyond-offsets",
        .value = 9223372036854774784u,
        .bound = 9223372035781033984u},
       "Could not resize image: offset(9223372036854774784) exceeds maximum(9223372035781033984)"},
      {{.code = "qcow2-size-beyond-l1-table"},
       "The image size is too large for file format 'qcow2' (try using a larger cluster size)",
       EFBIG},
      {{.code = "qcow2-cluster-size-wrong"},
       "Cluster size must be a power of two between 512 and 2048k"},
      {{.code = "qcow2-extended-l2-in-small-clusters", .bound = 16384},
       "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes"},
      {{.code = "qcow2-refcount-bits-wrong"},
       "Refcount width must be a power of two and may not exceed 64 bits"},
      {{.code = "qcow2-lazy-refcounts-in-version-2"},
       "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
       "greater)"},
      {{.code = "qcow2-compression-type-in-version-2"},
       "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)"},
      {{.code = "qcow2-new-header-too-large"},
       "Could not update qcow2 header: No space left on device",
       ENOSPC},
      {{.code = "qcow2-backing-file-refused", .text = "raw", .name = "b"},
       "Could not assign backing file 'b' with format 'raw': Invalid argument",
       EINVAL},
      {{.code = "qcow2-no-room-for-header"},
       "Could not write qcow2 header: No space left on device",
       ENOSPC},
      {{.code = "qcow2-no-room-for-refcounts"},
       "Could not write refcount table: No space left on device",
       ENOSPC},
      {{.code = "qcow2-no-room-for-l1-table"},
       "Could not resize image: Failed to grow the L1 table: No space left on device",
       ENOSPC},
      {{.code = "qcow2-size-beyond-refcount-table"},
       "Could not resize image: File too large",
       EFBIG},
      {{.code = "qcow2-measured-refcount-bits-in-version-2"},
       "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
       "compat=1.1 or greater)"},
      {{.code = "qcow2-measured-size-too-large"},
       "The image size is too large (try using a larger cluster size)"},
      {{.code = "qcow2-resize-with-bitmap-in-use", .name = "b"},
       "Bitmap 'b' is inconsistent and cannot be used"},
      {{.code = "qcow2-resize-with-bitmaps"},
       "Resizing an image with persistent bitmaps is not supported"},
      {{.code = "qcow2-resize-with-snapshots"}, "Can't resize a v2 image which has snapshots"},
      {{.code = "qcow2-new-size-impossible"}, "Image size cannot be negative"},
      {{.code = "qcow2-new-size-unaligned", .bound = 512},
       "The new size must be a multiple of 512"},
      {{.code = "qcow2-shrink-with-preallocation"},
       "Preallocation can't be used for shrinking an image"},
      {{.code = "qcow2-new-size-beyond-l1-table"},
       "Failed to grow the L1 table: File too large",
       EFBIG},
      {{.code = "resize-shrinks"}, "Use the --shrink option to perform a shrink operation."},
      {{.code = "size-beyond-offsets",
        .value = 9223372036854774784u,
        .bound = 9223372035781033984u},
       "offset(9223372036854774784) exceeds maximum(9223372035781033984)"},
      {{.code = "qcow2-lazy-refcounts-refused"},
       "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level"},
      {{.code = "qcow2-discard-no-unref-refused"},
       "discard-no-unref is only supported since qcow2 version 3"},
      {{.code = "qcow2-is-encrypted"}, "Parameter 'encrypt.key-secret' is required for cipher"},
      {{.code = "qcow2-raw-data-bit-alone"}, "data-file-raw requires a data file"},
      {{.code = "qcow2-l1-table-unreadable"}, "Could not read L1 table", EIO},
      {{.code = "qcow2-snapshot-l1-table-unreadable"}, "Failed to read l1 table for snapshot", EIO},
      {{.code = "qcow2-dirty-image-not-repaired"},
       "Could not repair dirty image: Input/output error",
       EIO},
      {{.code = "qcow2-l2-tables-not-written"},
       "Failed to flush the L2 table cache: No space left on device",
       ENOSPC},
      {{.code = "qcow2-refcounts-not-written"},
       "Failed to flush the refcount block cache: Input/output error",
       EIO},
      {{.code = "qcow2-snapshot-not-found"}, "Can't find snapshot", ENOENT},
      {{.code = "qcow2-bitmap-table-entry-invalid", .name = "b0"},
       "Could not read bitmap_table table from image for bitmap 'b0': Invalid argument",
       EINVAL},
      {{.code = "qcow2-cache-sizes-all"},
       "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time"},
      {{.code = "qcow2-l2-cache-above-both"}, "l2-cache-size may not exceed cache-size"},
      {{.code = "qcow2-refcount-cache-above-both"},
       "refcount-cache-size may not exceed cache-size"},
      {{.code = "qcow2-l2-cache-entry-size-wrong", .value = 100, .bound = 65536},
       "L2 cache entry size must be a power of two between 512 and the cluster size (65536)"},
      {{.code = "qcow2-l2-cache-too-large"}, "L2 cache size too big"},
      {{.code = "qcow2-refcount-cache-too-large"}, "Refcount cache size too big"},
      {{.code = "qcow2-cache-interval-too-large"}, "Cache clean interval too big"},
      {{.code = "qcow2-overlap-check-unknown", .text = "x"},
       "Unsupported value 'x' for qcow2 option 'overlap-check'. Allowed are any of the following: "
       "none, constant, cached, all"},
      {{.code = "qcow2-overlap-checks-differ", .text = "all", .name = "none"},
       "Conflicting values for qcow2 options 'overlap-check' ('all') and 'overlap-check.template' "
       "('none')"},
      {{.code = "qcow2-check-ended"}, "File too large", EFBIG},
      {{.code = "qcow2-clusters-too-many"}, "File too large", EFBIG},
      {{.code = "qcow2-rebuild-not-allowed"}, "Input/output error", EIO},
      {{.code = "qcow2-no-room-for-tables"}, "No space left on device", ENOSPC},
      {{.code = "qcow2-no-offsets-for-tables"}, "File too large", EFBIG},
      {{.code = "qcow2-rebuilt-refcount-table-too-large"}, "File too large", EFBIG},
      {{.code = "raw-format-guessed", .name = "a.raw"},
       "WARNING: Image format was not specified for 'a.raw' and probing guessed raw.\n         "
       "Automatically detecting the format is dangerous for raw images, write operations on block "
       "0 will be restricted.\n         Specify the 'raw' format explicitly to remove the "
       "restrictions."},
  };
  return all;
}

TEST(QemuText, EachCodeHasQemusWords) {
  for (const Case& each : cases()) {
    const Error error = error_of(each);
    EXPECT_EQ(qemu_text(error), each.text) << each.data.code.view();
    EXPECT_EQ(qemu_text(error.with_file("b").with_prefix("a").with_suffix("c")),
              "a: " + std::string(each.text) + "c");
  }
}

const std::vector<Case>& findings() {
  static const std::vector<Case> all = {
      {{.code = "qcow2-l2-table-unaligned", .value = 0x40200, .index = 0},
       "L2 table offset 0x40200 unaligned (L1 index: 0)"},
      {{.code = "qcow2-l2-table-unaligned", .value = 0x40200, .index = 17},
       "L2 table offset 0x40200 unaligned (L1 index: 0x11)"},
      {{.code = "qcow2-cluster-unaligned", .value = 0x50200, .index = 3, .offset = 0x40000},
       "Cluster allocation offset 0x50200 unaligned (L2 offset: 0x40000, L2 index: 0x3)"},
      {{.code = "qcow2-zero-flag-in-version-2", .value = 1, .index = 0, .offset = 0x40000},
       "Zero cluster entry found in pre-v3 image (L2 offset: 0x40000, L2 index: 0)"},
      {{.code = "qcow2-compressed-entry-with-data-file", .index = 1, .offset = 0x40000},
       "Compressed cluster entry found in image with external data file (L2 offset: 0x40000, L2 "
       "index: 0x1)"},
      {{.code = "qcow2-data-file-offset-wrong", .value = 0x20000, .bound = 0x10000, .index = 1},
       "External data file host cluster offset 0x20000 does not match guest cluster offset: "
       "0x10000, L2 index: 0x1)"},
      {{.code = "qcow2-l2-entry-invalid", .index = 0, .offset = 0x40000},
       "Invalid cluster entry found  (L2 offset: 0x40000, L2 index: 0)"},
      {{.code = "qcow2-refcount-block-unaligned", .value = 0x20200, .index = 0},
       "Refblock offset 0x20200 unaligned (reftable index: 0)"},
      {{.code = "qcow2-refcount-block-unaligned", .value = 0x20200, .index = 10},
       "Refblock offset 0x20200 unaligned (reftable index: 0xa)"},
      {{.code = "qcow2-refcount-too-low", .value = 0, .offset = 0x50000},
       "Refcount of the cluster at 0x50000 is 0, though it is in use"},
      {{.code = "qcow2-overlap", .offset = 0, .name = "qcow2_header"},
       "Preventing invalid write on metadata (overlaps with qcow2_header)"},
      {{.code = "qcow2-freed-cluster-unaligned", .value = 0x50200},
       "Cannot free unaligned cluster 0x50200"},
      {{.code = "qcow2-data-cluster-unaligned", .value = 0x50200, .offset = 0},
       "Data cluster offset 0x50200 unaligned (guest offset: 0)"},
      {{.code = "qcow2-zero-cluster-unaligned", .value = 0x50200, .offset = 0x10000},
       "Preallocated zero cluster offset 0x50200 unaligned (guest offset: 0x10000)"},
  };
  return all;
}

TEST(QemuText, AFindingIsAWarningAndItsErrorOnlyAnErrno) {
  for (const Case& each : findings()) {
    const Error error = error_of(each);
    EXPECT_EQ(qemu_text(error.with_file("b").with_prefix("a")), "a: Invalid argument");
    EXPECT_EQ(hint_below(error.with_file("b")), "'b': byre's own sentence");
    EXPECT_EQ(qemu_text(Warning{WarningKind::kCorrupt, error.with_file("b")}),
              "qcow2: Image is corrupt: " + std::string(each.text) +
                  "; further non-fatal corruption events will be suppressed\n");
  }
}

TEST(QemuText, NoRowIsMissingHere) {
  const auto expect_all = [](const std::vector<Case>& tested, std::span<const QemuText> rows) {
    std::set<std::string_view> codes;
    for (const Case& each : tested) codes.insert(each.data.code);
    std::set<std::string_view> expected;
    for (const QemuText& row : rows) {
      EXPECT_TRUE(expected.insert(row.code).second) << row.code << " has two rows";
    }
    EXPECT_EQ(codes, expected);
  };
  expect_all(cases(), qemu_texts());
  expect_all(findings(), qemu_findings());
}

TEST(QemuText, WithoutARowItIsTheMessage) {
  const Error plain(ErrorKind::kIo, EIO, "bad", "try again");
  EXPECT_EQ(qemu_text(plain.with_prefix("a")), "a: bad");
  EXPECT_EQ(hint_below(plain.with_prefix("a")), "try again");
  const Error own(ErrorKind::kIo, EIO, ErrorData{.code = "byres-own"}, "bad");
  EXPECT_EQ(qemu_text(own.with_file("b")), "'b': bad");
  EXPECT_EQ(hint_below(own), "");
}

TEST(QemuText, ByresOwnSentenceComesBelow) {
  const Error error = error_of({{.code = "qcow2-header-too-short"}, ""});
  EXPECT_EQ(hint_below(error), "byre's own sentence");
  EXPECT_EQ(hint_below(error.with_file("b").with_prefix("Could not open 'b'")),
            "'b': byre's own sentence");
  EXPECT_EQ(hint_below(error.with_hint("try again")), "byre's own sentence\ntry again");
}

TEST(QemuText, WarningsAreWholeLinesWhereQemuPrintsThem) {
  const Error problem(ErrorKind::kCorrupt, EIO, "bad");
  const struct {
    WarningKind kind;
    const char* text;
  } lines[] = {
      {WarningKind::kDeprecatedOption, "warning: bad\n"},
      {WarningKind::kBitmapsUnreadable, "warning: bad\n"},
      {WarningKind::kSnapshotsUnreadable, "warning: bad\n"},
      {WarningKind::kStaleBitmaps, "warning: bad"},
      {WarningKind::kFormatGuessed, "bad\n"},
      {WarningKind::kRepaired, "bad\n"},
      {WarningKind::kMarkedCorrupt,
       "qcow2: Marking image as corrupt: bad; further corruption events will be suppressed\n"},
      {WarningKind::kCorrupt,
       "qcow2: Image is corrupt: bad; further non-fatal corruption events will be suppressed\n"},
  };
  for (const auto& line : lines) EXPECT_EQ(qemu_text(Warning{line.kind, problem}), line.text);
}

}  // namespace
}  // namespace byre::cli
