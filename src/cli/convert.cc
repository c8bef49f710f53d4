// SPDX-License-Identifier: Apache-2.0
// `convert`: arguments, warnings and progress.
#include <functional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "byre/error.h"
#include "cli/convert_arguments.h"
#include "cli/messages.h"
#include "cli/signals.h"
#include "jobs/convert_images.h"

namespace byre::cli {
namespace {

// For what happens at an offset of the source.
std::function<void(uint64_t, const Error&)> offset_warning_printer(const Invocation& invocation,
                                                                   std::string what) {
  return [&invocation, what = std::move(what)](uint64_t offset, const Error& error) {
    print_warning(invocation,
                  what + std::to_string(offset) + ": " + errno_text(error.errno_value()));
  };
}

}  // namespace

int run_convert(Invocation& invocation) {
  ConvertArguments arguments = read_convert_arguments(invocation);
  invocation.output_is_result = false;
  InterruptibleScope scope;
  Loop loop;
  ProgressPrinter progress(arguments.progress, 1.0);
  jobs::ConvertJob& job = arguments.job;
  job.on_warning = [&invocation](const std::string& text) { print_warning(invocation, text); };
  job.on_open_warning = open_warning_printer(invocation);
  if (!arguments.quiet) {
    job.copy.on_unreadable = offset_warning_printer(invocation, "error while reading offset ");
    job.copy.on_unknown_state =
        offset_warning_printer(invocation, "error while reading block status at offset ");
  }
  job.progress = &progress;
  job.cancellation = &scope.cancellation();
  loop.run(jobs::convert_images(std::move(job)));
  return 0;
}

}  // namespace byre::cli
