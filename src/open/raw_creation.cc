// SPDX-License-Identifier: Apache-2.0
// How raw images are created.
#include <cerrno>
#include <exception>
#include <string>
#include <utility>

#include "async/clean_up.h"
#include "base/checked.h"
#include "base/units.h"
#include "block/fixed_size.h"
#include "byre/error.h"
#include "open/image_creation.h"
#include "open/invalid_argument.h"

namespace byre::open {

namespace {

constexpr OptionDescription kOptions[] = {
    {"size", OptionKind::kSize, "Virtual disk size"},
};

std::span<const OptionDescription> options_of_raw() {
  return kOptions;
}

Preallocation preallocation_of(const CreationOptions& options) {
  const std::string text = options.get("preallocation").value_or("off");
  const std::optional<Preallocation> mode = preallocation_named(text);
  if (!mode) throw invalid_argument("invalid parameter value: " + text);
  return *mode;
}

void validate(const CreationOptions& options) {
  preallocation_of(options);
}

// QEMU checks these once the file exists.
void check(const storage::FileDevice& file, uint64_t size, Preallocation preallocation) {
  if (is_device(file) && preallocation != Preallocation::kOff) {
    throw Error(
        ErrorKind::kUnsupported, ENOTSUP,
        std::string("Unsupported preallocation mode '") + preallocation_name(preallocation) + "'");
  }
  if (preallocation == Preallocation::kMetadata) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP, "Unsupported preallocation mode: metadata");
  }
  if (size > align_down(INT64_MAX, kSectorSize)) {
    throw invalid_argument("Could not resize file: Invalid argument");
  }
}

Task<void> create(std::string filename, const CreationOptions& options, NewFiles& files) {
  const Preallocation preallocation = preallocation_of(options);
  storage::FileDevice* file = co_await files.make(std::move(filename));
  check(*file, options.size(), preallocation);
  const uint64_t size = align_up(options.size(), kSectorSize);
  std::exception_ptr error;
  if (!can_have_size(*file, size)) throw device_too_small(*file, size);
  check_space(*file, size, preallocation);
  co_await try_size(*file, size);
  co_await files.empty();
  try {
    if (!is_device(*file)) co_await file->resize(size, preallocation);
    co_await write_first_block(*file);
  } catch (...) {
    // A file that was filled before the failure is truncated again, and stays, as QEMU leaves it.
    error = std::current_exception();
  }
  if (!error) co_return;
  if (is_device(*file)) std::rethrow_exception(error);
  Task<void> emptying = file->resize(0, Preallocation::kOff);
  co_await clean_up_and_rethrow(std::move(emptying), error);
}

// Its size is that of the disk, whatever the options and the data are.
SizeEstimate measure(const CreationOptions&) {
  SizeEstimate estimate;
  estimate.file_size = [](uint64_t disk_size, uint64_t) {
    return NewImageSize{disk_size, disk_size};
  };
  return estimate;
}

}  // namespace

const ImageCreation kRawCreation{
    .options = options_of_raw, .validate = validate, .create = create, .measure = measure};

}  // namespace byre::open
