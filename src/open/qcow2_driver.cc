// SPDX-License-Identifier: Apache-2.0
// The driver "qcow2".
#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "open/driver.h"
#include "open/image_creation.h"
#include "open/locks.h"
#include "open/node_options.h"
#include "open/option_value.h"

namespace byre::open {

namespace {

void take_overlap_checks(OptionTree& options, qcow2::OverlapCheckOptions& checks) {
  checks.check = options.take_text("overlap-check");
  checks.check_template = options.take_text("overlap-check.template");
  for (size_t i = 0; i < qcow2::kMetadataKinds; ++i) {
    checks.kinds[i] =
        take_bool(options, fmt::format("overlap-check.{}", qcow2::kOverlapCheckNames[i]));
  }
}

// Encrypted images cannot be opened for their data, and others do not need these options.
void take_encryption(OptionTree& options) {
  const OptionTree group = options.take_group("encrypt");
  const auto format = group.find_string("format");
  if (!format) return;
  throw Error(
      ErrorKind::kInvalidArgument, EINVAL,
      fmt::format("No encryption in image header, but options specified format '{}'", *format));
}

qcow2::OpenOptions take_options(NodeRequest& request) {
  OptionTree& from = request.options;
  qcow2::OpenOptions options;
  options.writable = request.flags.writable;
  options.for_check = request.image.for_check;
  options.metadata_only = request.image.metadata_only;
  options.compression_level = request.image.compression_level;
  options.on_warning = request.image.on_warning;
  options.policy = request.flags.policy;
  options.lazy_refcounts = take_bool(from, "lazy-refcounts");
  options.pass_discard.request = take_bool(from, "pass-discard-request");
  options.pass_discard.snapshot = take_bool(from, "pass-discard-snapshot");
  options.pass_discard.other = take_bool(from, "pass-discard-other");
  options.discard_no_unref = take_bool(from, "discard-no-unref").value_or(false);
  options.cache.cache_size = take_size(from, "cache-size");
  options.cache.l2_cache_size = take_size(from, "l2-cache-size");
  options.cache.l2_cache_entry_size = take_size(from, "l2-cache-entry-size");
  options.cache.refcount_cache_size = take_size(from, "refcount-cache-size");
  options.cache.clean_interval = take_number(from, "cache-clean-interval");
  take_overlap_checks(from, options.overlap_check);
  return options;
}

Error data_file_refused(const std::string& name, const std::string& filename) {
  return Error(
      ErrorKind::kPermission, EPERM, fmt::format("External data file '{}' may not be opened", name),
      fmt::format("'{}' refers to it, but images may not refer to other files here", filename));
}

// The data file as specified by the options, or by the image.
Task<std::optional<Node>> open_data_file(Chain& chain, NodeRequest& request,
                                         const qcow2::Image* image) {
  const bool is_given = request.options.has("data-file") || has_group(request.options, "data-file");
  if (is_given && request.is_from_image && !request.image.allow_data_file) {
    throw data_file_refused("data-file", image->filename());
  }
  std::optional<Node> given =
      co_await chain.open_child(request, "data-file", Role::kDataFile, std::nullopt);
  if (given) {
    if (image->has_external_data_file()) co_return given;
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "'data-file' can only be set for images with an external data file");
  }
  if (!image->has_external_data_file()) co_return std::nullopt;
  const auto& name = image->extensions().data_file_name;
  if (!name) {
    throw Error(
        ErrorKind::kCorrupt, EINVAL, "'data-file' is required for this image",
        fmt::format("'{}' has an external data file, but does not name it", image->filename()));
  }
  if (!request.image.allow_data_file) throw data_file_refused(*name, image->filename());
  // Only a file name, neither a description in JSON nor a name with a protocol; and relative to the
  // current directory, as in QEMU.
  request.options.set("data-file.filename", *name);
  co_return co_await chain.open_child(request, "data-file", Role::kDataFile, std::nullopt);
}

Task<Node> open_with_driver(Chain& chain, NodeRequest& request) {
  Node file = std::move(*request.file);
  lock_file_below(*file.device, qcow2_lock(request));
  request.describe_option("encrypt.format");
  request.describe_option("encrypt.key-secret");
  const bool is_plain = file.names_parent && request.description.empty();
  request.describe_child("file", file);
  qcow2::OpenOptions options = take_options(request);
  if (!is_plain) options.filename = request.json_name();
  std::unique_ptr<qcow2::Image> image =
      co_await qcow2::Image::open(std::move(file.device), std::move(options));
  if (image->header().crypt_method == qcow2::layout::CryptMethod::kNone) {
    take_encryption(request.options);
  }
  if (request.image.metadata_only) {
    request.options.take_group("data-file");
    request.options.remove("data-file");
  } else {
    std::optional<Node> data = co_await open_data_file(chain, request, image.get());
    if (data) {
      request.describe_child("data-file", *data);
      image->set_data_file(std::move(data->device));
    }
  }
  Node node;
  node.description = request.description_text();
  node.device = std::move(image);
  co_return node;
}

}  // namespace

const Driver kQcow2Driver{.name = "qcow2",
                          .supports_backing = true,
                          .open = open_with_driver,
                          .creation = &kQcow2Creation};

}  // namespace byre::open
