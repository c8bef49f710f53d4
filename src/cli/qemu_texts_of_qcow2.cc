// SPDX-License-Identifier: Apache-2.0
// The refusals of src/qcow2.
#include <fmt/format.h>

#include "cli/qemu_text.h"
#include "qcow2/layout/limits.h"

namespace byre::cli {
namespace {

namespace limits = qcow2::layout::limits;

std::string subcluster_size(uint64_t cluster_bits) {
  return std::to_string((uint64_t{1} << cluster_bits) / limits::kSubclustersPerCluster);
}

std::string as_signed(uint64_t value) {
  return std::to_string(static_cast<int32_t>(value));
}

std::string as_hex(uint64_t value) {
  return fmt::format("{:#x}", value);
}

// In the order of the files that throw them.
constexpr QemuText kTexts[] = {
    // layout/header.cc
    {"qcow2-magic-wrong", "Image is not in qcow2 format"},
    {"qcow2-version-unknown", "Unsupported qcow2 version {value}"},
    {"qcow2-cluster-size-invalid", "Unsupported cluster size: 2^{value}"},
    {"qcow2-header-too-long", "qcow2 header exceeds cluster size"},
    {"qcow2-header-too-short", "qcow2 header too short"},
    {"qcow2-compression-type-unknown", "qcow2: unknown compression type: {value}"},
    {"qcow2-compression-bit-set",
     "qcow2: Compression type incompatible feature bit must not be set"},
    {"qcow2-compression-bit-clear", "qcow2: Compression type incompatible feature bit must be set"},
    {"qcow2-features-unknown", "Unsupported qcow2 feature(s): {name}"},
    {"qcow2-is-corrupt", "qcow2: Image is corrupt; cannot be opened read/write"},
    {"qcow2-subclusters-too-small", "Unsupported subcluster size: {value}", subcluster_size},
    {"qcow2-refcounts-too-wide", "Reference count entry width too large; may not exceed 64 bits"},
    {"qcow2-refcount-table-too-large", "Reference count table too large"},
    {"qcow2-refcount-table-missing", "Image does not contain a reference count table"},
    {"qcow2-refcount-table-offset-invalid", "Reference count table offset invalid"},
    {"qcow2-refcount-table-past-end", "Could not initialize refcount handling: {errno}"},
    {"qcow2-l1-table-too-large", "Active L1 table too large"},
    {"qcow2-l1-table-offset-invalid", "Active L1 table offset invalid"},
    {"qcow2-l1-table-too-small", "L1 table is too small"},
    {"qcow2-l1-table-past-end", "Could not read L1 table: {errno}"},
    {"qcow2-size-impossible", "Could not refresh total sector count: {errno}"},
    {"qcow2-size-too-large", "Image is too big"},
    {"qcow2-crypt-method-unknown", "Unsupported encryption method {value}", as_signed},
    {"qcow2-snapshots-too-many", "Snapshot table too large"},
    {"qcow2-snapshot-table-offset-invalid", "Snapshot table offset invalid"},
    {"qcow2-backing-offset-invalid", "Invalid backing file offset"},
    // layout/header_cluster.cc
    {"qcow2-backing-name-too-long", "Backing file name too long"},
    {"qcow2-header-too-large", "{errno}"},
    // layout/extensions.cc
    {"qcow2-backing-format-too-long", "ERROR: ext_backing_format: len={value} too large (>=16)"},
    {"qcow2-crypto-header-unexpected",
     "CRYPTO header extension only expected with LUKS encryption method"},
    {"qcow2-crypto-header-size-wrong",
     "CRYPTO header extension size {value}, but expected size {bound}"},
    {"qcow2-crypto-header-offset-invalid",
     "Encryption header offset '{value}' is not a multiple of cluster size '{bound}'"},
    {"qcow2-crypto-header-missing", "Missing CRYPTO header for crypt method {value}"},
    {"qcow2-extension-too-large", "Header extension too large"},
    {"qcow2-bitmaps-extension-size-wrong", "bitmaps_ext: Invalid extension length"},
    {"qcow2-bitmaps-in-version-2",
     "This qcow2 v2 image contains bitmaps, but they may have been modified by a program without "
     "persistent bitmap support; so now they must all be considered inconsistent\n"
     "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix."},
    {"qcow2-bitmaps-stale",
     "a program lacking bitmap support modified this file, so all bitmaps are now considered "
     "inconsistent\n"
     "Some clusters may be leaked, run 'qemu-img check -r' on the image file to fix."},
    // core/header_store.cc
    {"qcow2-new-backing-name-too-long", "{errno}"},
    {"qcow2-new-backing-format-too-long", "{errno}"},
    {"qcow2-backing-of-raw-data", "{errno}"},
    // layout/bitmap.cc
    {"qcow2-bitmap-directory-broken", "Broken bitmap directory"},
    {"qcow2-bitmap-table-past-end",
     "Could not read bitmap_table table from image for bitmap '{name}': {errno}"},
    {"qcow2-bitmap-table-size-wrong", "Could not read bitmap '{name}' from image: {errno}"},
    {"qcow2-bitmaps-reserved-not-zero", "bitmaps_ext: Reserved field is not zero"},
    {"qcow2-bitmaps-too-many",
     "bitmaps_ext: Image has {value} bitmaps, exceeding the QEMU supported maximum of {bound}"},
    {"qcow2-bitmaps-none", "found bitmaps extension with zero bitmaps"},
    {"qcow2-bitmap-directory-offset-invalid", "bitmaps_ext: invalid bitmap directory offset"},
    {"qcow2-bitmap-directory-too-large",
     "bitmaps_ext: bitmap directory size ({value}) exceeds the maximum supported size ({bound})"},
    {"qcow2-bitmap-directory-empty", "Requested bitmap directory size is zero"},
    {"qcow2-bitmap-directory-past-end", "Failed to read bitmap directory: {errno}"},
    {"qcow2-bitmaps-more-than-stated", "More bitmaps found than specified in header extension"},
    {"qcow2-bitmaps-fewer-than-stated", "Less bitmaps found than specified in header extension"},
    {"qcow2-bitmap-invalid", "Bitmap '{name}' doesn't satisfy the constraints"},
    {"qcow2-bitmap-name-repeated", "Bitmap already exists: {name}"},
    // layout/snapshot.cc
    {"qcow2-snapshot-extra-data-too-large",
     "Too much extra metadata in snapshot table entry {index}"},
    {"qcow2-snapshot-l1-table-too-large", "Snapshot L1 table too large"},
    {"qcow2-snapshot-l1-table-offset-invalid", "Snapshot L1 table offset invalid"},
    {"qcow2-snapshot-l1-table-past-end", "Failed to read l1 table for snapshot"},
    {"qcow2-snapshot-table-past-end", "Failed to read snapshot table: {errno}"},
    {"qcow2-snapshot-table-too-large", "Snapshot table is too big"},
    {"qcow2-snapshots-too-large", "Snapshot table too large"},
    // core/health.cc, read/compressed_reader.cc
    {"qcow2-refuses-requests", "{errno}"},
    {"qcow2-compressed-cluster-damaged", "{errno}"},
    // space/
    {"qcow2-refcount-block-past-end", "{errno}"},
    {"qcow2-refcount-overflow", "{errno}"},
    {"qcow2-refcount-table-full", "{errno}"},
    {"qcow2-host-offset-too-high", "{errno}"},
    {"qcow2-file-full", "{errno}"},
    {"qcow2-snapshot-l2-tables-too-many", "{errno}"},
    // write/, image/
    {"qcow2-zeroing-needs-write", "{errno}"},
    {"qcow2-compressed-with-data-file", "{errno}"},
    {"qcow2-compressed-write-unaligned", "{errno}"},
    {"qcow2-compressed-offset-too-high", "{errno}"},
    {"qcow2-vm-state-too-large", "{errno}"},
    // amend/
    {"qcow2-refcount-too-large",
     "Cannot decrease refcount entry width to {bound} bits: Cluster at offset {text} has a "
     "refcount "
     "of {value}"},
    {"qcow2-downgrade-with-refcount-bits", "compat=0.10 requires refcount_bits=16"},
    {"qcow2-downgrade-with-data-file", "Cannot downgrade an image with a data file"},
    {"qcow2-downgrade-with-snapshots", "Internal snapshots prevent downgrade of image"},
    {"qcow2-downgrade-with-features",
     "Cannot downgrade an image with incompatible features {value} set", as_hex},
    {"qcow2-downgrade-with-bitmaps",
     "Cannot downgrade an image with bitmaps\nRemove them first, or use --force to lose them."},
    // create/
    {"qcow2-extended-l2-in-version-2",
     "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-refcount-bits-in-version-2",
     "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
     "version=v3 or greater)"},
    {"qcow2-backing-file-with-preallocation",
     "Backing file and preallocation can only be used at the same time if extended_l2 is on"},
    {"qcow2-backing-format-alone", "Backing format cannot be used without backing file"},
    {"qcow2-data-file-raw-alone", "data-file-raw requires data-file"},
    {"qcow2-data-file-raw-with-backing-file",
     "Backing file and data-file-raw cannot be used at the same time"},
    {"qcow2-data-file-in-version-2",
     "External data files are only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-size-negative", "Could not resize image: Image size cannot be negative"},
    {"qcow2-size-beyond-offsets",
     "Could not resize image: offset({value}) exceeds maximum({bound})"},
    {"qcow2-size-beyond-l1-table",
     "The image size is too large for file format 'qcow2' (try using a larger cluster size)"},
    {"qcow2-cluster-size-wrong", "Cluster size must be a power of two between 512 and 2048k"},
    {"qcow2-extended-l2-in-small-clusters",
     "Extended L2 entries are only supported with cluster sizes of at least {bound} bytes"},
    {"qcow2-refcount-bits-wrong",
     "Refcount width must be a power of two and may not exceed 64 bits"},
    {"qcow2-lazy-refcounts-in-version-2",
     "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
     "greater)"},
    {"qcow2-compression-type-in-version-2",
     "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
     "version=v3 or greater)"},
    {"qcow2-new-header-too-large", "Could not update qcow2 header: {errno}"},
    {"qcow2-backing-file-refused",
     "Could not assign backing file '{name}' with format '{text}': {errno}"},
    {"qcow2-no-room-for-header", "Could not write qcow2 header: {errno}"},
    {"qcow2-no-room-for-refcounts", "Could not write refcount table: {errno}"},
    {"qcow2-no-room-for-l1-table", "Could not resize image: Failed to grow the L1 table: {errno}"},
    {"qcow2-size-beyond-refcount-table", "Could not resize image: {errno}"},
    {"qcow2-measured-refcount-bits-in-version-2",
     "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
     "compat=1.1 or greater)"},
    {"qcow2-measured-size-too-large",
     "The image size is too large (try using a larger cluster size)"},
    // resize/growth.cc
    {"qcow2-resize-with-bitmap-in-use", "Bitmap '{name}' is inconsistent and cannot be used"},
    {"qcow2-resize-with-bitmaps", "Resizing an image with persistent bitmaps is not supported"},
    {"qcow2-resize-with-snapshots", "Can't resize a v2 image which has snapshots"},
    {"qcow2-new-size-impossible", "Image size cannot be negative"},
    {"qcow2-new-size-unaligned", "The new size must be a multiple of {bound}"},
    {"qcow2-new-size-beyond-l1-table", "Failed to grow the L1 table: {errno}"},
    {"qcow2-shrink-with-preallocation", "Preallocation can't be used for shrinking an image"},
    // image/, bitmaps/
    {"qcow2-lazy-refcounts-refused",
     "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level"},
    {"qcow2-discard-no-unref-refused", "discard-no-unref is only supported since qcow2 version 3"},
    {"qcow2-is-encrypted", "Parameter 'encrypt.key-secret' is required for cipher"},
    {"qcow2-raw-data-bit-alone", "data-file-raw requires a data file"},
    {"qcow2-l1-table-unreadable", "Could not read L1 table"},
    {"qcow2-snapshot-l1-table-unreadable", "Failed to read l1 table for snapshot"},
    {"qcow2-dirty-image-not-repaired", "Could not repair dirty image: {errno}"},
    {"qcow2-l2-tables-not-written", "Failed to flush the L2 table cache: {errno}"},
    {"qcow2-refcounts-not-written", "Failed to flush the refcount block cache: {errno}"},
    {"qcow2-snapshot-not-found", "Can't find snapshot"},
    // snapshots/
    {"qcow2-snapshot-with-data-file", "{errno}"},
    {"qcow2-snapshot-name-too-long", "{errno}"},
    {"qcow2-snapshots-full", "{errno}"},
    {"qcow2-snapshot-with-bitmaps", "Device has active dirty bitmaps"},
    {"qcow2-snapshot-disk-size-invalid", "{errno}"},
    // bitmaps/, image/
    {"qcow2-bitmap-table-entry-invalid",
     "Could not read bitmap_table table from image for bitmap '{name}': {errno}"},
    {"qcow2-cache-sizes-all",
     "cache-size, l2-cache-size and refcount-cache-size may not be set at the same time"},
    {"qcow2-l2-cache-above-both", "l2-cache-size may not exceed cache-size"},
    {"qcow2-refcount-cache-above-both", "refcount-cache-size may not exceed cache-size"},
    {"qcow2-l2-cache-entry-size-wrong",
     "L2 cache entry size must be a power of two between 512 and the cluster size ({bound})"},
    {"qcow2-l2-cache-too-large", "L2 cache size too big"},
    {"qcow2-refcount-cache-too-large", "Refcount cache size too big"},
    {"qcow2-cache-interval-too-large", "Cache clean interval too big"},
    // space/overlap_check.cc
    {"qcow2-overlap-check-unknown",
     "Unsupported value '{text}' for qcow2 option 'overlap-check'. Allowed are any of the "
     "following: none, constant, cached, all"},
    {"qcow2-overlap-checks-differ",
     "Conflicting values for qcow2 options 'overlap-check' ('{text}') and 'overlap-check.template' "
     "('{name}')"},
    // check/, repair/
    {"qcow2-check-ended", "{errno}"},
    {"qcow2-clusters-too-many", "{errno}"},
    {"qcow2-rebuild-not-allowed", "{errno}"},
    {"qcow2-no-room-for-tables", "{errno}"},
    {"qcow2-no-offsets-for-tables", "{errno}"},
    {"qcow2-rebuilt-refcount-table-too-large", "{errno}"},
};

constexpr QemuText kFindings[] = {
    // read/mapping.cc
    {"qcow2-l2-table-unaligned", "L2 table offset {value} unaligned (L1 index: {index})"},
    {"qcow2-cluster-unaligned",
     "Cluster allocation offset {value} unaligned (L2 offset: {offset}, L2 index: {index})"},
    {"qcow2-zero-flag-in-version-2",
     "Zero cluster entry found in pre-v3 image (L2 offset: {offset}, L2 index: {index})"},
    {"qcow2-compressed-entry-with-data-file",
     "Compressed cluster entry found in image with external data file (L2 offset: {offset}, L2 "
     "index: {index})"},
    {"qcow2-data-file-offset-wrong",
     "External data file host cluster offset {value} does not match guest cluster offset: {bound}, "
     "L2 index: {index})"},
    {"qcow2-l2-entry-invalid",
     "Invalid cluster entry found  (L2 offset: {offset}, L2 index: {index})"},
    // space/
    {"qcow2-refcount-block-unaligned",
     "Refblock offset {value} unaligned (reftable index: {index})"},
    {"qcow2-refcount-too-low", "Refcount of the cluster at {offset} is 0, though it is in use"},
    {"qcow2-overlap", "Preventing invalid write on metadata (overlaps with {name})"},
    // write/
    {"qcow2-freed-cluster-unaligned", "Cannot free unaligned cluster {value}"},
    {"qcow2-data-cluster-unaligned",
     "Data cluster offset {value} unaligned (guest offset: {offset})"},
    {"qcow2-zero-cluster-unaligned",
     "Preallocated zero cluster offset {value} unaligned (guest offset: {offset})"},
};

}  // namespace

std::span<const QemuText> qemu_texts_of_qcow2() {
  return kTexts;
}

std::span<const QemuText> qemu_findings() {
  return kFindings;
}

}  // namespace byre::cli
