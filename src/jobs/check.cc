// SPDX-License-Identifier: Apache-2.0
#include "jobs/check.h"

#include <exception>
#include <memory>
#include <utility>

#include "block/close_after.h"
#include "byre/error.h"

namespace byre::jobs {
namespace {

Task<void> run_on(qcow2::Image* image, CheckJob* job, CheckReport* report) {
  if (!job->repair) {
    report->result = co_await qcow2::check(*image, std::move(job->options));
    co_return;
  }
  qcow2::RepairOptions options;
  options.scope = *job->repair;
  options.drops_unreadable = job->drops_unreadable;
  options.check = std::move(job->options);
  options.on_fixed = std::move(job->on_fixed);
  const qcow2::RepairResult result = co_await qcow2::repair(*image, std::move(options));
  report->result = result.check;
  report->leaks_fixed = result.leaks_fixed;
  report->corruptions_fixed = result.corruptions_fixed;
}

Task<void> check_image(qcow2::Image* image, CheckJob* job, CheckReport* report) {
  std::exception_ptr failure;
  try {
    co_await run_on(image, job, report);
    co_return;
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
  job.image.writable = job.repair.has_value();
  if (job.progress != nullptr) {
    job.options.on_progress = [progress = job.progress](uint64_t done, uint64_t total) {
      progress->update(done, total);
    };
  }
  std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, job.image);
  CheckReport report;
  std::exception_ptr error;
  try {
    report.filename = job.filename;
    report.format = device->driver();
    qcow2::Image* const image = open::as_qcow2(device.get());
    if (image != nullptr) co_await check_image(image, &job, &report);
    if (job.progress != nullptr) job.progress->update(1, 1);
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(device.get(), error);
  co_return report;
}

}  // namespace byre::jobs
