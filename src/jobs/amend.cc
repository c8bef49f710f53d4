// SPDX-License-Identifier: Apache-2.0
#include "jobs/amend.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>

#include "block/close_after.h"
#include "byre/error.h"
#include "jobs/amend_progress.h"
#include "jobs/invalid_argument.h"
#include "jobs/resize.h"
#include "open/amend_options.h"

namespace byre::jobs {
namespace {

// What an image will be like. In the order in which it is changed.
struct Plan {
  bool upgrades = false;
  std::optional<uint32_t> refcount_bits;
  bool clears_raw = false;
  std::optional<std::string> data_file;
  std::optional<bool> lazy_refcounts;
  std::optional<uint64_t> size;
  bool downgrades = false;

  uint64_t count() const {
    return uint64_t{upgrades} + refcount_bits.has_value() + clears_raw + data_file.has_value() +
           lazy_refcounts.has_value() + size.has_value() + downgrades;
  }
};

uint32_t wanted_version(const open::AmendOptions& options, uint32_t version) {
  if (!options.compat) return version;
  if (*options.compat == "0.10" || *options.compat == "v2") return 2;
  if (*options.compat == "1.1" || *options.compat == "v3") return 3;
  throw invalid_argument({.code = "amend-compat-unknown", .name = *options.compat},
                         fmt::format("compat is '{}', not v2 or v3", *options.compat));
}

uint32_t wanted_refcount_bits(const open::AmendOptions& options, uint32_t bits) {
  if (!options.refcount_bits) return bits;
  // QEMU takes the lower half of the number.
  const auto wanted = static_cast<int32_t>(*options.refcount_bits);
  if (wanted > 0 && wanted <= 64 && std::has_single_bit(static_cast<uint32_t>(wanted))) {
    return static_cast<uint32_t>(wanted);
  }
  throw invalid_argument(
      {.code = "amend-refcount-bits-wrong", .value = *options.refcount_bits},
      fmt::format("refcount_bits is {}, not 1, 2, 4, 8, 16, 32 or 64", *options.refcount_bits));
}

void check_encryption(const open::AmendOptions& options) {
  if (!options.has_encryption) return;
  throw invalid_argument({.code = "amend-not-encrypted"}, "the image is not encrypted");
}

void check_data_file(const open::AmendOptions& options, const qcow2::Image& image) {
  if (options.data_file && !image.has_external_data_file()) {
    throw invalid_argument({.code = "amend-no-data-file"}, "the image has no external data file");
  }
  const bool is_raw = image.header().has_raw_external_data();
  if (options.data_file_raw.value_or(false) && !is_raw) {
    throw invalid_argument({.code = "amend-data-file-not-raw"},
                           "an external data file cannot become raw after the image was created");
  }
}

// A changed backing file would change what the image reads.
void check_backing_file(const open::AmendOptions& options, const qcow2::Image& image) {
  if (!options.backing_file && !options.backing_format) return;
  const bool has_file = !image.backing_filename().empty();
  const bool has_format = image.extensions().backing_format.has_value();
  const bool is_same = options.backing_file.has_value() == has_file &&
                       options.backing_format.has_value() == has_format &&
                       options.backing_file.value_or("") == image.backing_filename() &&
                       options.backing_format.value_or("") == image.backing_format();
  if (is_same) return;
  throw invalid_argument({.code = "amend-backing-file-changed"},
                         "the backing file and its format can only be given as they are");
}

void check_lazy_refcounts(const Plan& plan, uint32_t version) {
  if (version >= 3 || !plan.lazy_refcounts.value_or(false)) return;
  throw invalid_argument({.code = "amend-lazy-refcounts-in-version-2"},
                         "lazy refcounts need version 3 (compat=v3)");
}

// Refuses what is impossible, in the order in which QEMU finds it.
Task<Plan> make_plan(qcow2::Image* image, const AmendJob* job) {
  const open::AmendOptions options = open::AmendOptions::parse(job->options);
  check_encryption(options);
  const qcow2::layout::Header& header = image->header();
  Plan plan;
  const uint32_t version = wanted_version(options, header.version);
  check_data_file(options, *image);
  const uint32_t refcount_bits = wanted_refcount_bits(options, header.refcount_bits());
  plan.upgrades = version > header.version;
  plan.downgrades = version < header.version;
  if (refcount_bits != header.refcount_bits()) plan.refcount_bits = refcount_bits;
  if (plan.refcount_bits && version < 3 && refcount_bits != 16) {
    throw invalid_argument(
        {.code = "amend-refcount-bits-in-version-2", .value = refcount_bits},
        fmt::format("refcounts of {} bits need version 3 (compat=v3)", refcount_bits));
  }
  const bool is_raw = header.has_raw_external_data();
  plan.clears_raw = is_raw && !options.data_file_raw.value_or(true);
  if (options.data_file && *options.data_file != image->data_filename()) {
    plan.data_file = options.data_file;
  }
  if (options.lazy_refcounts && *options.lazy_refcounts != header.has_lazy_refcounts()) {
    plan.lazy_refcounts = options.lazy_refcounts;
  }
  const uint64_t size = options.size.value_or(0);
  if (size != 0 && size != image->size()) plan.size = size;
  if (plan.refcount_bits) co_await image->check_refcount_bits(refcount_bits);
  check_backing_file(options, *image);
  check_lazy_refcounts(plan, version);
  if (plan.size && !plan.upgrades) image->check_resize(size);
  if (plan.downgrades) {
    const qcow2::Downgrade wanted{.size = plan.size.value_or(image->size()),
                                  .refcount_bits = refcount_bits,
                                  .drops_bitmaps = job->removes_bitmaps};
    image->check_downgrade(wanted);
  }
  co_return plan;
}

Task<void> change(BlockDevice* device, const Plan* plan, const AmendJob* job) {
  qcow2::Image* const image = open::as_qcow2(device);
  AmendProgress progress(job->progress, job->cancellation, plan->count());
  if (plan->upgrades) {
    co_await image->upgrade();
    progress.finish_step();
  }
  if (plan->refcount_bits) {
    const qcow2::AmendProgress step = progress.step();
    co_await image->set_refcount_bits(*plan->refcount_bits, step);
    progress.finish_step();
  }
  if (plan->clears_raw) {
    co_await image->clear_raw_external_data();
    progress.finish_step();
  }
  if (plan->data_file) {
    co_await image->set_data_filename(*plan->data_file);
    progress.finish_step();
  }
  if (plan->lazy_refcounts) {
    co_await image->set_lazy_refcounts(*plan->lazy_refcounts);
    progress.finish_step();
  }
  if (plan->size) {
    co_await resize_open(device, *plan->size, Preallocation::kOff);
    progress.finish_step();
  }
  if (plan->downgrades) {
    const qcow2::AmendProgress step = progress.step();
    co_await image->downgrade(job->removes_bitmaps, step);
    progress.finish_step();
  }
  co_await device->flush();
  progress.finish();
}

Error with_state(const Error& error, const qcow2::Image& image) {
  std::string hint = fmt::format(
      "The image is sound. It has version {}, refcounts of {} bits and a disk of {} bytes; the "
      "same "
      "command does what is left.",
      image.header().version, image.header().refcount_bits(), image.size());
  if (!error.hint().empty()) hint = error.hint() + "\n" + hint;
  return error.with_hint(hint);
}

Task<void> run(BlockDevice* device, const AmendJob* job) {
  open::check_amendable(device->driver());
  qcow2::Image* const image = open::as_qcow2(device);
  const Plan plan = co_await make_plan(image, job);
  std::optional<Error> failure;
  try {
    co_await change(device, &plan, job);
  } catch (const Error& error) {
    failure = with_state(error, *image);
  }
  if (failure) throw *failure;
}

}  // namespace

Task<void> amend(AmendJob job) {
  job.image.writable = true;
  const std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  Task<void> work = run(device.get(), &job);
  co_await work_and_close(device.get(), std::move(work));
}

Task<std::string> amended_format(std::string filename, open::ImageOptions image) {
  image.writable = true;
  const std::unique_ptr<BlockDevice> device = co_await open::open_image(filename, image);
  std::string format = device->driver();
  co_await device->close();
  co_return format;
}

}  // namespace byre::jobs
