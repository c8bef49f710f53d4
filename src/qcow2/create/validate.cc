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

// Checks of options that contradict each other. Messages and their order are QEMU's: the same
// mistake, alone or with others, gives the same message. The order was determined by giving
// qemu-img every pair of mistakes.
namespace byre::qcow2 {

namespace {

[[noreturn]] void refuse(std::string message, std::string hint = {}) {
  throw Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message), std::move(hint));
}

void validate_cluster_size(const CreateOptions& options) {
  if (options.extended_l2 && options.version < 3) {
    refuse(
        "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
        "version=v3 or greater)");
  }
  check_cluster_size(options);
}

void validate_refcount_bits(const CreateOptions& options) {
  check_refcount_bits(options);
  if (options.refcount_bits != kDefaultRefcountBits && options.version < 3) {
    refuse(
        "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
        "version=v3 or greater)",
        fmt::format("refcount_bits={}", options.refcount_bits));
  }
}

void validate_backing_file(const CreateOptions& options) {
  if (options.backing_filename && options.preallocation != Preallocation::kOff &&
      !options.extended_l2) {
    refuse("Backing file and preallocation can only be used at the same time if extended_l2 is on");
  }
  if (options.backing_format && !options.backing_filename) {
    refuse("Backing format cannot be used without backing file");
  }
}

void validate_data_file(const CreateOptions& options) {
  if (options.data_file_raw && !options.data_filename) refuse("data-file-raw requires data-file");
  if (options.data_file_raw && options.backing_filename) {
    refuse("Backing file and data-file-raw cannot be used at the same time");
  }
  if (options.data_filename && options.version < 3) {
    refuse(
        "External data files are only supported with compatibility level 1.1 and above (use "
        "version=v3 or greater)");
  }
}

void validate_size(const CreateOptions& options) {
  // The largest file offset that QEMU's block layer accepts.
  constexpr uint64_t kSizeMax = (uint64_t{1} << 63) - kGiB;
  if (options.size > (uint64_t{1} << 63) - kSectorSize) {
    refuse("Could not resize image: Image size cannot be negative",
           fmt::format("size={}", options.size));
  }
  const uint64_t size = align_up(options.size, kSectorSize);
  if (size > kSizeMax) {
    refuse(fmt::format("Could not resize image: offset({}) exceeds maximum({})", size, kSizeMax));
  }
  if (l1_entries_for(options, size) > layout::limits::kL1EntriesMax) {
    throw Error(
        ErrorKind::kNoSpace, EFBIG,
        "The image size is too large for file format 'qcow2' (try using a larger cluster size)",
        fmt::format("size {} needs an L1 table of {} entries with clusters of {} bytes; at "
                    "most {} are allowed",
                    size, l1_entries_for(options, size), options.cluster_size,
                    layout::limits::kL1EntriesMax));
  }
}

}  // namespace

void check_cluster_size(const CreateOptions& options) {
  if (!is_power_of_two(options.cluster_size) ||
      options.cluster_size < layout::limits::kClusterSizeMin ||
      options.cluster_size > layout::limits::kClusterSizeMax) {
    refuse(fmt::format("Cluster size must be a power of two between {} and {}k",
                       layout::limits::kClusterSizeMin, layout::limits::kClusterSizeMax / kKiB),
           fmt::format("cluster_size={}", options.cluster_size));
  }
  if (options.extended_l2 && options.cluster_size < kExtendedL2ClusterSizeMin) {
    refuse(fmt::format(
               "Extended L2 entries are only supported with cluster sizes of at least {} bytes",
               kExtendedL2ClusterSizeMin),
           fmt::format("cluster_size={}", options.cluster_size));
  }
}

void check_refcount_bits(const CreateOptions& options) {
  if (!is_power_of_two(options.refcount_bits) || options.refcount_bits > 64) {
    refuse("Refcount width must be a power of two and may not exceed 64 bits",
           fmt::format("refcount_bits={}", options.refcount_bits));
  }
}

uint64_t l1_entries_for(const CreateOptions& options, uint64_t size) {
  const uint64_t entry_size = options.extended_l2 ? 16 : 8;
  return div_ceil(size, options.cluster_size * (options.cluster_size / entry_size));
}

void validate(const CreateOptions& options) {
  validate_cluster_size(options);
  validate_backing_file(options);
  if (options.lazy_refcounts && options.version < 3) {
    refuse(
        "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
        "greater)");
  }
  validate_refcount_bits(options);
  validate_data_file(options);
  if (options.compression_type != CompressionType::kZlib && options.version < 3) {
    refuse(
        "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
        "version=v3 or greater)");
  }
  validate_size(options);
}

}  // namespace byre::qcow2
