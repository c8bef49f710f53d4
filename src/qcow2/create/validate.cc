// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <string>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "qcow2/create/create.h"
#include "qcow2/create/creation_limits.h"
#include "qcow2/layout/limits.h"

// Checks of options that contradict each other. Their order is QEMU's: of two mistakes, the same one
// is reported. The order was determined by giving qemu-img every pair of mistakes.
namespace byre::qcow2 {

namespace {

[[noreturn]] void refuse(ErrorData data, std::string sentence) {
  throw Error(ErrorKind::kInvalidArgument, EINVAL, std::move(data), std::move(sentence));
}

// For an option of version 3.
void require_version_3(const CreateOptions& options, bool is_used, Literal code, Literal option) {
  if (!is_used || options.version >= 3) return;
  refuse(
      {.code = code, .field = option, .bound = 3},
      fmt::format("{} requires version 3, but the version is {}", option.view(), options.version));
}

void validate_cluster_size(const CreateOptions& options) {
  require_version_3(options, options.extended_l2, "qcow2-extended-l2-in-version-2", "extended_l2");
  check_cluster_size(options);
}

void validate_refcount_bits(const CreateOptions& options) {
  check_refcount_bits(options);
  if (options.refcount_bits != kDefaultRefcountBits && options.version < 3) {
    refuse({.code = "qcow2-refcount-bits-in-version-2",
            .field = "refcount_bits",
            .value = options.refcount_bits,
            .bound = kDefaultRefcountBits},
           fmt::format("refcount_bits is {}; version 2 has only {}", options.refcount_bits,
                       kDefaultRefcountBits));
  }
}

void validate_backing_file(const CreateOptions& options) {
  if (options.backing_filename && options.preallocation != Preallocation::kOff &&
      !options.extended_l2) {
    refuse({.code = "qcow2-backing-file-with-preallocation", .field = "preallocation"},
           "preallocation with a backing file requires extended_l2");
  }
  if (options.backing_format && !options.backing_filename) {
    refuse({.code = "qcow2-backing-format-alone", .field = "backing_fmt"},
           "backing_fmt requires backing_file");
  }
}

void validate_data_file(const CreateOptions& options) {
  if (options.data_file_raw && !options.data_filename) {
    refuse({.code = "qcow2-data-file-raw-alone", .field = "data_file_raw"},
           "data_file_raw requires data_file");
  }
  if (options.data_file_raw && options.backing_filename) {
    refuse({.code = "qcow2-data-file-raw-with-backing-file", .field = "data_file_raw"},
           "data_file_raw excludes a backing file");
  }
  require_version_3(options, options.data_filename.has_value(), "qcow2-data-file-in-version-2",
                    "data_file");
}

void validate_size(const CreateOptions& options) {
  // The largest file offset that QEMU's block layer accepts.
  constexpr uint64_t kSizeMax = (uint64_t{1} << 63) - kGiB;
  constexpr uint64_t kRoundedMax = (uint64_t{1} << 63) - kSectorSize;
  if (options.size > kRoundedMax) {
    refuse({.code = "qcow2-size-negative",
            .field = "size",
            .value = options.size,
            .bound = kRoundedMax},
           fmt::format("size is {}; at most {} is possible", options.size, kRoundedMax));
  }
  const uint64_t size = align_up(options.size, kSectorSize);
  if (size > kSizeMax) {
    refuse({.code = "qcow2-size-beyond-offsets", .field = "size", .value = size, .bound = kSizeMax},
           fmt::format("size is {}, rounded up; at most {} is possible", size, kSizeMax));
  }
  if (l1_entries_for(options, size) > layout::limits::kL1EntriesMax) {
    throw Error(
        ErrorKind::kNoSpace, EFBIG,
        ErrorData{.code = "qcow2-size-beyond-l1-table", .field = "size", .value = size},
        fmt::format("size is {}, which needs an L1 table of {} entries with clusters of {} bytes; "
                    "at most {} are allowed",
                    size, l1_entries_for(options, size), options.cluster_size,
                    layout::limits::kL1EntriesMax));
  }
}

}  // namespace

void check_cluster_size(const CreateOptions& options) {
  if (!is_power_of_two(options.cluster_size) ||
      options.cluster_size < layout::limits::kClusterSizeMin ||
      options.cluster_size > layout::limits::kClusterSizeMax) {
    refuse({.code = "qcow2-cluster-size-wrong",
            .field = "cluster_size",
            .value = options.cluster_size},
           fmt::format("cluster_size is {}, not a power of two from {} to {}", options.cluster_size,
                       layout::limits::kClusterSizeMin, layout::limits::kClusterSizeMax));
  }
  if (options.extended_l2 && options.cluster_size < kExtendedL2ClusterSizeMin) {
    refuse({.code = "qcow2-extended-l2-in-small-clusters",
            .field = "cluster_size",
            .value = options.cluster_size,
            .bound = kExtendedL2ClusterSizeMin},
           fmt::format("cluster_size is {}; extended_l2 requires at least {}", options.cluster_size,
                       kExtendedL2ClusterSizeMin));
  }
}

void check_refcount_bits(const CreateOptions& options) {
  if (!is_power_of_two(options.refcount_bits) || options.refcount_bits > 64) {
    refuse(
        {.code = "qcow2-refcount-bits-wrong",
         .field = "refcount_bits",
         .value = options.refcount_bits,
         .bound = 64},
        fmt::format("refcount_bits is {}, not a power of two from 1 to 64", options.refcount_bits));
  }
}

uint64_t l1_entries_for(const CreateOptions& options, uint64_t size) {
  const uint64_t entry_size = options.extended_l2 ? 16 : 8;
  return div_ceil(size, options.cluster_size * (options.cluster_size / entry_size));
}

void validate(const CreateOptions& options) {
  validate_cluster_size(options);
  validate_backing_file(options);
  require_version_3(options, options.lazy_refcounts, "qcow2-lazy-refcounts-in-version-2",
                    "lazy_refcounts");
  validate_refcount_bits(options);
  validate_data_file(options);
  const bool is_other_type = options.compression_type != CompressionType::kZlib;
  require_version_3(options, is_other_type, "qcow2-compression-type-in-version-2",
                    "compression_type");
  validate_size(options);
}

}  // namespace byre::qcow2
