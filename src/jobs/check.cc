// SPDX-License-Identifier: Apache-2.0
#include "jobs/check.h"

#include <exception>
#include <memory>
#include <utility>

#include "byre/error.h"

namespace byre::jobs {
namespace {

Task<qcow2::CheckResult> check_image(qcow2::Image* image, qcow2::CheckOptions options) {
  std::exception_ptr failure;
  try {
    co_return co_await qcow2::check(*image, std::move(options));
  } catch (const Error& error) {
    failure = error.kind() == ErrorKind::kCancelled
                  ? std::current_exception()
                  : std::make_exception_ptr(error.with_prefix("Check failed"));
  }
  std::rethrow_exception(failure);
}

}  // namespace

Task<CheckReport> check(CheckJob job) {
  job.image.for_check = true;
  if (job.progress != nullptr) {
    job.options.on_progress = [progress = job.progress](uint64_t done, uint64_t total) {
      progress->update(done, total);
    };
  }
  std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  CheckReport report;
  report.filename = job.filename;
  report.format = device->driver();
  qcow2::Image* const image = open::as_qcow2(device.get());
  if (image != nullptr) report.result = co_await check_image(image, std::move(job.options));
  if (job.progress != nullptr) job.progress->update(1, 1);
  co_await device->close();
  co_return report;
}

}  // namespace byre::jobs
