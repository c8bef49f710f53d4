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
  explicit DdCopy(const DdTask* task) : task_(*task) {}

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
    const DdPlan plan = plan_dd(task_.range, input_->size());
    open::CreationOptions options = creation_options();
    require_file(task_.output);
    options.set_size(align_up(plan.length, kSectorSize));
    co_await create_output(options);
    co_await open_output();
    if (!plan.can_skip) {
      if (task_.on_cannot_skip) task_.on_cannot_skip();
      co_return;
    }
    co_await dd(*input_, *output_, plan, task_.cancellation);
  }

  Task<void> open_input() {
    open::ImageOptions options;
    options.on_warning = task_.on_open_warning;
    options.reads_pipes = task_.reads_pipes;
    options.format = task_.input_format;
    options.force_share = task_.force_share;
    // QEMU truncates an input that is the output too; this lock prevents it.
    options.no_resize = !task_.force_share;
    if (task_.input_is_options) open::use_option_list(task_.input, options, task_.on_warning);
    input_ = co_await open::open_image(task_.input, options);
  }

  // QEMU does not name the format here.
  open::CreationOptions creation_options() const {
    try {
      return open::CreationOptions(task_.output_format);
    } catch (const Error& error) {
      throw Error(error.kind(), error.errno_value(),
                  ErrorData{.code = "dd-format-unknown", .text = task_.output_format},
                  error.message());
    }
  }

  Task<void> create_output(const open::CreationOptions& options) {
    std::optional<Error> failure;
    try {
      if (task_.force_share) refuse_as_target(task_.output, files_below(*input_));
      NewImage image{task_.output, options};
      co_await create_image(std::move(image), &made_);
    } catch (const Error& error) {
      failure = error.with_prefix(task_.output + ": error while creating output image");
    }
    if (failure) throw *failure;
  }

  Task<void> open_output() {
    open::ImageOptions options;
    options.on_warning = task_.on_open_warning;
    options.format = task_.output_format;
    options.writable = true;
    output_ = co_await open::open_image(task_.output, options);
  }

  const DdTask& task_;
  open::MadeFiles made_;
  std::unique_ptr<BlockDevice> input_;
  std::unique_ptr<BlockDevice> output_;
};

}  // namespace

Task<void> dd_images(DdTask task) {
  DdCopy copy(&task);
  co_await copy.run();
}

}  // namespace byre::jobs
