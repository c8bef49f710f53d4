// SPDX-License-Identifier: Apache-2.0
// `dd`: options like those of the other commands, then operands like those of dd(1).
#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "base/checked.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "jobs/create.h"
#include "jobs/dd.h"
#include "jobs/file_identities.h"
#include "open/open.h"

namespace byre::cli {
namespace {

struct DdArguments {
  std::optional<std::string> input_format;
  std::string output_format = "raw";
  bool force_share = false;
  bool image_opts = false;
  std::optional<std::string> input;
  std::optional<std::string> output;
  jobs::DdRange range;
};

void read_operand(const std::string& text, DdArguments& arguments) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
  const bool has_value = equals != std::string::npos;
  if (has_value && name == "bs") {
    arguments.range.block_size = parse_size_argument("bs", value, 1, INT32_MAX);
  } else if (has_value && name == "count") {
    arguments.range.count =
        static_cast<uint64_t>(parse_number_argument("count", value, 0, INT64_MAX));
  } else if (has_value && name == "skip") {
    arguments.range.skip =
        static_cast<uint64_t>(parse_number_argument("skip", value, 0, INT64_MAX));
  } else if (has_value && name == "if") {
    arguments.input = value;
  } else if (has_value && name == "of") {
    arguments.output = value;
  } else {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "unrecognized operand " + name);
  }
}

DdArguments read_arguments(Invocation& invocation) {
  DdArguments arguments;
  OptionReader reader(invocation, "hf:O:U",
                      {{"help", 'h'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"object", kObject, true},
                       {"output-format", 'O', true},
                       {"force-share", 'U'}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.input_format = reader.argument();
        break;
      case 'O':
        arguments.output_format = reader.argument();
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case 'U':
        arguments.force_share = true;
        break;
      default:
        break;
    }
  }
  for (const std::string& operand : reader.names()) read_operand(operand, arguments);
  if (!arguments.input.has_value() || !arguments.output.has_value()) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "Must specify both input and output files");
  }
  return arguments;
}

class DdCommand {
 public:
  DdCommand(const Invocation& invocation, const DdArguments& arguments, Cancellation& cancellation)
      : invocation_(invocation), arguments_(arguments), cancellation_(cancellation) {}

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
    open::ImageOptions input_options;
    input_options.on_warning = open_warning_printer(invocation_);
    input_options.reads_pipes = !invocation_.as_qemu();
    input_options.format = arguments_.input_format;
    input_options.force_share = arguments_.force_share;
    // QEMU truncates an input that is the output too; this lock prevents it.
    input_options.no_resize = !arguments_.force_share;
    if (arguments_.image_opts) set_image_opts(invocation_, *arguments_.input, input_options);
    input_ = co_await open::open_image(*arguments_.input, input_options);

    const jobs::DdPlan plan = jobs::plan_dd(arguments_.range, input_->size());
    open::CreationOptions target = target_options();
    jobs::require_file(*arguments_.output);
    target.set_size(align_up(plan.length, kSectorSize));
    co_await create(target);

    open::ImageOptions output_options;
    output_options.on_warning = open_warning_printer(invocation_);
    output_options.format = arguments_.output_format;
    output_options.writable = true;
    output_ = co_await open::open_image(*arguments_.output, output_options);
    if (!plan.can_skip) {
      print_error(invocation_, *arguments_.input + ": cannot skip to specified offset");
      co_return;
    }
    co_await jobs::dd(*input_, *output_, plan, &cancellation_);
  }

  // QEMU does not name the format here.
  open::CreationOptions target_options() const {
    try {
      return open::CreationOptions(arguments_.output_format);
    } catch (const Error& error) {
      throw Error(error.kind(), error.errno_value(), "Unknown file format", error.message());
    }
  }

  Task<void> create(const open::CreationOptions& target) {
    try {
      if (arguments_.force_share) {
        jobs::refuse_as_target(*arguments_.output, jobs::files_below(*input_));
      }
      jobs::NewImage image{*arguments_.output, target};
      co_await jobs::create_image(std::move(image), &made_);
    } catch (const Error& error) {
      throw error.with_prefix(*arguments_.output + ": error while creating output image");
    }
  }

  const Invocation& invocation_;
  const DdArguments& arguments_;
  Cancellation& cancellation_;
  open::MadeFiles made_;
  std::unique_ptr<BlockDevice> input_;
  std::unique_ptr<BlockDevice> output_;
};

}  // namespace

int run_dd(Invocation& invocation) {
  const DdArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  InterruptibleScope scope;
  Loop loop;
  DdCommand command(invocation, arguments, scope.cancellation());
  loop.run(command.run());
  return 0;
}

}  // namespace byre::cli
