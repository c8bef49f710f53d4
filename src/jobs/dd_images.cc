// SPDX-License-Identifier: Apache-2.0
#include "jobs/dd_images.h"

#include <exception>
#include <memory>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/create.h"
#include "jobs/file_identities.h"
#include "open/open.h"
#include "open/option_list.h"

namespace byre::jobs {
namespace {

class DdCopy {
 public:
  explicit DdCopy(const DdJob* job) : job_(*job) {}

  Task<void> run() {
    std::exception_ptr error;
    try {
      co_await copy();
    } catch (...) {
      error = std::current_exception();
    }
    try {
      if (output_) co_await output_->close();
    } catch (...) {
      if (!error) error = std::current_exception();
    }
    try {
      if (input_) co_await input_->close();
    } catch (const Error&) {
      // The input was only read.
    }
    if (!error) co_return;
    made_.remove();
    std::rethrow_exception(error);
  }

 private:
  Task<void> copy() {
    co_await open_input();
    const DdPlan plan = plan_dd(job_.range, input_->size());
    open::CreationOptions options = creation_options();
    require_file(job_.output);
    options.set_size(align_up(plan.length, kSectorSize));
    co_await create_output(options);
    co_await open_output();
    if (!plan.can_skip) {
      if (job_.on_cannot_skip) job_.on_cannot_skip();
      co_return;
    }
    co_await dd(*input_, *output_, plan, job_.cancellation);
  }

  Task<void> open_input() {
    open::ImageOptions options;
    options.on_warning = job_.on_open_warning;
    options.reads_pipes = job_.reads_pipes;
    options.format = job_.input_format;
    options.force_share = job_.force_share;
    // QEMU truncates an input that is the output too; this lock prevents it.
    options.no_resize = !job_.force_share;
    if (job_.input_is_options) open::use_option_list(job_.input, options, job_.on_warning);
    input_ = co_await open::open_image(job_.input, options);
  }

  // QEMU does not name the format here.
  open::CreationOptions creation_options() const {
    try {
      return open::CreationOptions(job_.output_format);
    } catch (const Error& error) {
      throw Error(error.kind(), error.errno_value(),
                  ErrorData{.code = "dd-format-unknown", .text = job_.output_format},
                  error.message());
    }
  }

  Task<void> create_output(const open::CreationOptions& options) {
    std::optional<Error> failure;
    try {
      if (job_.force_share) refuse_as_target(job_.output, files_below(*input_));
      NewImage image{job_.output, options};
      co_await create_image(std::move(image), &made_);
    } catch (const Error& error) {
      failure = error.with_prefix(job_.output + ": error while creating output image");
    }
    if (failure) throw *failure;
  }

  Task<void> open_output() {
    open::ImageOptions options;
    options.on_warning = job_.on_open_warning;
    options.format = job_.output_format;
    options.writable = true;
    output_ = co_await open::open_image(job_.output, options);
  }

  const DdJob& job_;
  open::CreatedFiles made_;
  std::unique_ptr<BlockDevice> input_;
  std::unique_ptr<BlockDevice> output_;
};

}  // namespace

Task<void> dd_images(DdJob job) {
  DdCopy copy(&job);
  co_await copy.run();
}

}  // namespace byre::jobs
