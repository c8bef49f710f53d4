// SPDX-License-Identifier: Apache-2.0
#include "jobs/create.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <exception>
#include <utility>

#include "byre/error.h"
#include "open/destination.h"
#include "open/driver.h"
#include "open/image_creation.h"

namespace byre::jobs {
namespace {

open::FileHints file_hints(const NewImage& image) {
  open::FileHints hints;
  hints.nocow = image.options.is_on("nocow");
  if (image.options.get("extent_size_hint")) {
    hints.extent_size_hint = image.options.number("extent_size_hint");
  }
  if (hints.extent_size_hint.value_or(0) > UINT32_MAX) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "create-extent-size-hint-too-large",
                          .field = "extent_size_hint",
                          .value = hints.extent_size_hint,
                          .bound = UINT32_MAX},
                fmt::format("extent_size_hint is {}; at most {} is possible",
                            *hints.extent_size_hint, UINT32_MAX));
  }
  hints.on_warning = image.on_warning;
  return hints;
}

}  // namespace

void require_file(const std::string& filename) {
  open::destination_of(filename);
}

Task<void> create_image(NewImage image, open::CreatedFiles* created) {
  const open::ImageCreation& creation = *image.options.driver().creation;
  creation.validate(image.options);
  open::CreatedFiles own;
  if (created == nullptr) created = &own;
  open::NewFiles files(file_hints(image), created);
  std::exception_ptr error;
  try {
    co_await creation.create(image.filename, image.options, files);
  } catch (...) {
    error = std::current_exception();
  }
  try {
    co_await files.close();
  } catch (...) {
    if (!error) error = std::current_exception();
  }
  if (!error) co_return;
  if (creation.removes_failed) created->remove();
  std::rethrow_exception(error);
}

}  // namespace byre::jobs
