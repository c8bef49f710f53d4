// SPDX-License-Identifier: Apache-2.0
// How large the file of a new qcow2 image is.
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "base/checked.h"
#include "base/size_text.h"
#include "byre/error.h"
#include "open/image_creation.h"
#include "open/invalid_argument.h"
#include "open/open.h"
#include "open/qcow2_creation.h"
#include "qcow2/create/creation_limits.h"
#include "qcow2/layout/bitmap.h"

namespace byre::open {

namespace {

int version_of(const std::string& text) {
  if (text == "0.10" || text == "v2") return 2;
  if (text == "1.1" || text == "v3") return 3;
  throw invalid_argument("Invalid compatibility level: '" + text + "'");
}

Preallocation preallocation_of(const std::string& text) {
  const std::optional<Preallocation> mode = preallocation_named(text);
  if (!mode) throw invalid_argument("invalid parameter value: " + text);
  return *mode;
}

// As a size, whatever its kind.
uint64_t number_of(const CreationOptions& options, const char* name) {
  return parse_size(options.get(name).value_or("0")).value;
}

// The options that determine the size. Unlike `create`, `measure` ignores the others; the order of
// the checks is QEMU's.
qcow2::CreateOptions options_of(const CreationOptions& from) {
  qcow2::CreateOptions options;
  options.extended_l2 = from.is_on("extended_l2");
  options.cluster_size = number_of(from, "cluster_size");
  qcow2::check_cluster_size(options);
  if (const auto text = from.get("compat")) options.version = version_of(*text);
  options.refcount_bits = number_of(from, "refcount_bits");
  qcow2::check_refcount_bits(options);
  if (const auto text = from.get("preallocation")) {
    options.preallocation = preallocation_of(*text);
  }
  if (from.get("encrypt.format") == "luks") throw no_encryption();
  options.backing_filename = from.get("backing_file");
  return options;
}

// The clusters of their tables and bits, and of the directory.
uint64_t bitmaps_size(const qcow2::Image& image, uint64_t cluster_size) {
  uint64_t clusters_size = 0;
  uint64_t directory_size = 0;
  for (const qcow2::layout::BitmapEntry& bitmap : image.bitmaps()) {
    const uint64_t data_clusters = div_ceil(
        qcow2::layout::bitmap_data_size(image.size(), bitmap.granularity_bits), cluster_size);
    clusters_size += data_clusters * cluster_size + align_up(data_clusters * 8, cluster_size);
    directory_size += align_up(sizeof(qcow2::layout::RawBitmapEntry) + bitmap.name.size(), 8);
  }
  return clusters_size + align_up(directory_size, cluster_size);
}

}  // namespace

SizeEstimate measure_qcow2(const CreationOptions& from) {
  const qcow2::CreateOptions options = options_of(from);
  SizeEstimate estimate;
  estimate.allocation_unit = options.cluster_size;
  estimate.file_size = [options](uint64_t disk_size, uint64_t allocated) {
    qcow2::CreateOptions sized = options;
    sized.size = disk_size;
    const qcow2::ImageSize size = qcow2::measure(sized, allocated);
    return NewImageSize{size.required, size.fully_allocated};
  };
  if (options.version < 3) return estimate;
  estimate.bitmaps_size =
      [cluster_size = options.cluster_size](BlockDevice& source) -> std::optional<uint64_t> {
    const qcow2::Image* const image = as_qcow2(&source);
    if (image == nullptr || image->header().version < 3) return std::nullopt;
    return bitmaps_size(*image, cluster_size);
  };
  return estimate;
}

}  // namespace byre::open
