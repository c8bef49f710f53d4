// SPDX-License-Identifier: Apache-2.0
#include "jobs/create_job.h"

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <set>

#include "byre/error.h"
#include "jobs/create.h"
#include "jobs/file_identities.h"
#include "jobs/invalid_argument.h"
#include "open/image_name.h"
#include "open/open.h"

namespace byre::jobs {
namespace {

Error same_file(const std::string& filename) {
  return invalid_argument(
      {.code = "create-backing-file-is-image", .file = filename},
      "the new image would be its own backing file, or overwrite a file that the backing "
      "file depends on");
}

struct Backing {
  uint64_t size = 0;
  std::string format;
};

// An image that the backing image needs must not be replaced by the new one. Images that cannot be
// opened are not examined: the new image may be meant to replace them.
Task<void> refuse_to_lose_backing(std::string filename, std::string path,
                                  std::optional<std::string> format) {
  const std::optional<FileIdentity> target = identity_of(filename);
  if (!target) co_return;
  if (identity_of(path) == target) throw same_file(filename);
  open::ImageOptions options;
  options.format = std::move(format);
  options.force_share = true;
  std::set<FileIdentity> files;
  try {
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(path, options);
    files = files_below(*image);
    co_await image->close();
  } catch (const Error&) {
    files.clear();
  }
  if (files.contains(*target)) throw same_file(filename);
}

Task<Backing> look_at_backing(std::string path, std::optional<std::string> format) {
  open::ImageOptions options;
  options.format = std::move(format);
  options.metadata_only = true;
  options.force_share = true;
  std::unique_ptr<BlockDevice> image = co_await open::open_image(path, options);
  Backing backing;
  backing.size = image->size();
  backing.format = open::as_qcow2(image.get()) != nullptr ? "qcow2" : "raw";
  co_await image->close();
  co_return backing;
}

// The backing image, which must open in the specified format.
Task<Backing> open_backing(std::string path, std::optional<std::string> format) {
  std::optional<Error> failure;
  try {
    co_return co_await look_at_backing(path, std::move(format));
  } catch (const Error& error) {
    // QEMU does not print the prefix of open_image() here.
    failure = error.without_prefix("Could not open '" + path + "'")
                  .with_suffix("\nCould not open backing image.");
  }
  throw *failure;
}

// Opens the backing image, unless it may be missing: it determines the size if none was given.
// `job` and `options` outlive it.
Task<void> apply_backing_image(const CreateJob& job, open::CreationOptions& options) {
  const std::optional<std::string> name = options.get("backing_file");
  if (!name) co_return;
  const std::optional<std::string> format = options.get("backing_fmt");
  const std::string path = open::resolve_relative(job.filename, *name);
  if (job.checks_backing) {
    const Backing backing = co_await open_backing(path, format);
    if (!format) {
      throw invalid_argument(
          {.code = "create-backing-format-missing",
           .field = "backing_fmt",
           .text = backing.format,
           .name = *name},
          fmt::format("the backing file '{}' has no backing_fmt; it seems to be {}", *name,
                      backing.format));
    }
    if (!options.get("size")) options.set_size(backing.size);
  } else if (!format) {
    throw invalid_argument(
        {.code = "create-backing-format-unknown", .field = "backing_fmt", .name = *name},
        fmt::format("the backing file '{}' has no backing_fmt", *name));
  }
  co_await refuse_to_lose_backing(job.filename, path, format);
}

// What can be checked without the backing image.
open::CreationOptions creation_options(const CreateJob& job) {
  open::CreationOptions options(job.format, job.filename);
  options.apply(job.options);
  options.set_backing(job.backing_filename, job.backing_format);
  if (const std::optional<std::string> backing = options.get("backing_file")) {
    if (backing->empty()) {
      throw invalid_argument({.code = "create-backing-file-empty", .field = "backing_file"},
                             "the name of the backing file is empty");
    }
    if (*backing == job.filename) throw same_file(job.filename);
  }
  if (job.size) {
    if (options.get("size")) {
      throw invalid_argument({.code = "create-size-repeated", .field = "size"},
                             "the size is given both as an argument and as the option 'size'");
    }
    options.set_size(*job.size);
  }
  return options;
}

}  // namespace

Task<void> create(CreateJob job) {
  open::CreationOptions options = creation_options(job);
  co_await apply_backing_image(job, options);
  // QEMU treats the largest number as none.
  if (!options.get("size") || options.size() == UINT64_MAX) {
    throw invalid_argument({.code = "create-size-missing", .field = "size"},
                           "the new image has no size, and no backing file to take it from");
  }
  if (job.on_options) job.on_options(options);
  std::optional<Error> failure;
  try {
    NewImage image{job.filename, options, job.on_warning};
    co_await create_image(std::move(image));
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) co_return;
  if (failure->errno_value() == EFBIG && job.format == "raw") {
    throw Error(failure->kind(), EFBIG,
                ErrorData{.code = "create-raw-size-too-large",
                          .field = "size",
                          .value = options.size(),
                          .file = job.filename},
                failure->sentence());
  }
  throw *failure;
}

}  // namespace byre::jobs
