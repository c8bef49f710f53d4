// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert_target.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <optional>
#include <utility>

#include "byre/error.h"
#include "jobs/convert_snapshots.h"
#include "jobs/create.h"
#include "jobs/file_identities.h"
#include "jobs/invalid_argument.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "open/image_name.h"
#include "open/option_list.h"
#include "storage/file_device.h"

namespace byre::jobs {
namespace {

Error not_compressible(const char* reason) {
  return invalid_argument({.code = "convert-not-compressible"},
                          std::string("the target cannot be compressed: ") + reason);
}

}  // namespace

storage::CacheMode cache_mode_named(const std::string& name, const std::string& what) {
  const std::optional<storage::CacheMode> mode = storage::parse_cache_mode(name);
  if (mode) return *mode;
  throw invalid_argument(
      {.code = "convert-cache-mode-unknown", .text = name, .name = what},
      fmt::format("the {} mode is '{}', which is none of none, writeback, writethrough, "
                  "directsync and unsafe",
                  what, name));
}

Task<void> ConvertTarget::open(uint64_t size) {
  if (job_.create) {
    co_await create(size);
  } else {
    has_backing_ = job_.backing_filename.has_value();
    cache_ = cache_mode_named(job_.target_cache, "cache");
    co_await open_image();
  }
  check(size);
}

// The options of the new image, complete and checked as far as possible without files.
open::CreationOptions ConvertTarget::creation_options(uint64_t size) const {
  open::CreationOptions options(format(), job_.target);
  options.apply(job_.target_options);
  options.set_size(size);
  options.set_backing(job_.backing_filename, job_.backing_format);
  if (states_ != nullptr) check_target_of_snapshots(options, *states_);
  if (options.get("backing_file")) check_backing_options(options);
  if (job_.copy.compressed) check_compression(options);
  return options;
}

void ConvertTarget::check_backing_options(const open::CreationOptions& options) const {
  if (sources_.size() > 1) {
    throw invalid_argument(
        {.code = "convert-backing-file-of-several", .value = job_.sources.size()},
        fmt::format("the target is to have a backing file, but there are {} sources; only "
                    "one can be compared with it",
                    job_.sources.size()));
  }
  if (!options.get("backing_fmt")) {
    throw invalid_argument({.code = "convert-backing-format-missing", .field = "backing_fmt"},
                           "the target's backing file has no backing_fmt");
  }
}

void ConvertTarget::check_compression(const open::CreationOptions& options) const {
  const bool is_supported = options.driver().creation->supports_compression;
  if (!is_supported) throw not_compressible("its format has no compressed clusters");
  if (options.get("data_file")) throw not_compressible("it has an external data file");
  if (options.get("preallocation").value_or("off") != "off") {
    throw invalid_argument(
        {.code = "convert-compression-with-preallocation", .field = "preallocation"},
        "the target is to be compressed, and a compressed image cannot be preallocated");
  }
}

Task<void> ConvertTarget::create(uint64_t size) {
  const open::CreationOptions options = creation_options(size);
  has_backing_ = options.get("backing_file").has_value();
  cache_ = cache_mode_named(job_.target_cache, "cache");
  if (job_.target_pipe) {
    pipe_ = std::make_unique<PipedImage>(*job_.target_pipe);
    device_ = co_await pipe_->make(options, job_.compression_level);
    co_return;
  }
  co_await check_before_loss(options);
  std::optional<Error> failure;
  try {
    NewImage image{job_.target, options, job_.on_warning};
    co_await create_image(std::move(image), &made_);
  } catch (const Error& error) {
    failure = error.with_prefix(job_.target + ": error while converting " + format());
  }
  if (failure) throw *failure;
  co_await open_image();
}

std::set<FileIdentity> ConvertTarget::source_files() const {
  std::set<FileIdentity> files;
  for (const auto& source : sources_) files.merge(files_below(*source));
  return files;
}

// Checks for errors that would otherwise show only when the new image is opened, which is too late
// for the existing one.
Task<void> ConvertTarget::check_before_loss(const open::CreationOptions& options) const {
  if (job_.force_share) {
    refuse_as_target(job_.target, source_files());
    refuse_as_target(options.get("data_file").value_or(""), source_files());
  }
  const std::optional<FileIdentity> target = identity_of(job_.target);
  if (!target) co_return;
  std::optional<Error> failure;
  try {
    if (storage::is_direct(cache_)) co_await try_to_open_file();
    if (has_backing_) co_await check_backing(options, *target);
  } catch (const Error& error) {
    failure = error.with_prefix("Could not open '" + job_.target + "'");
  }
  if (failure) throw *failure;
}

// With O_DIRECT, which the file system may not support.
Task<void> ConvertTarget::try_to_open_file() const {
  const std::string& name = job_.target;
  storage::FileOptions options;
  options.cache = cache_;
  options.force_share = true;
  const std::string path = name.starts_with("file:") ? name.substr(5) : name;
  const std::unique_ptr<storage::FileDevice> file =
      co_await storage::FileDevice::open(path, options);
  co_await file->close();
}

Task<void> ConvertTarget::check_backing(const open::CreationOptions& options,
                                        FileIdentity target) const {
  open::ImageOptions backing_options;
  backing_options.format = options.get("backing_fmt");
  backing_options.cache = cache_;
  const std::string path = open::resolve_relative(job_.target, *options.get("backing_file"));
  std::unique_ptr<BlockDevice> backing;
  std::optional<Error> failure;
  try {
    backing = co_await open::open_image(path, backing_options);
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) {
    throw failure->without_prefix("Could not open '" + path + "'")
        .with_prefix("Could not open backing file");
  }
  const bool is_target = files_below(*backing).contains(target);
  co_await backing->close();
  if (!is_target) co_return;
  throw invalid_argument({.code = "convert-backing-file-is-target", .name = path},
                         "the backing file is the image itself, or depends on it");
}

Task<void> ConvertTarget::open_image() {
  open::ImageOptions options;
  options.format = format();
  options.writable = true;
  options.policy.discard = DiscardPolicy::kUnmap;
  options.cache = cache_;
  options.compression_level = job_.compression_level;
  options.on_warning = job_.on_open_warning;
  if (job_.target_is_options) {
    options.format = job_.target_format;
    open::use_option_list(job_.target, options, job_.on_warning);
  }
  image_ = co_await open::open_image(job_.target, options);
  device_ = image_.get();
  if (job_.force_share) refuse_sources();
}

// Compares only the target's own files: it may share a backing file with a source.
void ConvertTarget::refuse_sources() const {
  const std::set<FileIdentity> files = source_files();
  refuse_as_target(leaf_of(*device_).filename(), files);
  const qcow2::Image* image = open::as_qcow2(device_);
  if (image == nullptr || image->data_file() == nullptr) return;
  refuse_as_target(leaf_of(*image->data_file()).filename(), files);
}

void ConvertTarget::check(uint64_t size) const {
  if (job_.target_is_zero && has_backing_) {
    throw invalid_argument({.code = "convert-zero-target-with-backing-file", .file = job_.target},
                           "the target is said to be zero, but it has a backing file");
  }
  if (!job_.create && device_->size() < size) {
    throw invalid_argument(
        {.code = "convert-target-too-small",
         .field = "size",
         .value = device_->size(),
         .bound = size,
         .file = job_.target},
        fmt::format("the target has {} bytes; the sources have {}", device_->size(), size));
  }
  if (job_.copy.compressed && device_->limits().compressed_write_size == 0) {
    throw not_compressible("its format has no compressed clusters");
  }
}

bool ConvertTarget::is_zero() const {
  if (has_backing_) return false;
  return job_.target_is_zero || (job_.create && device_->limits().is_zero_initialised);
}

Task<void> ConvertTarget::finish() {
  if (pipe_) co_await pipe_->finish(job_.cancellation);
}

Task<void> ConvertTarget::close() {
  if (image_) co_await image_->close();
  if (pipe_) co_await pipe_->close();
}

}  // namespace byre::jobs
