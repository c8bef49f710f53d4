// SPDX-License-Identifier: Apache-2.0
// `dd`: options like those of the other commands, then operands like those of dd(1).
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/messages.h"
#include "cli/numbers.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "jobs/dd_images.h"

namespace byre::cli {
namespace {

// if= and of=, which must be given.
struct DdNames {
  std::optional<std::string> input;
  std::optional<std::string> output;
};

void read_operand(const std::string& text, DdNames& names, jobs::DdRange& range) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
  const bool has_value = equals != std::string::npos;
  if (has_value && name == "bs") {
    range.block_size = parse_size_argument("bs", value, 1, INT32_MAX);
  } else if (has_value && name == "count") {
    range.count = static_cast<uint64_t>(parse_number_argument("count", value, 0, INT64_MAX));
  } else if (has_value && name == "skip") {
    range.skip = static_cast<uint64_t>(parse_number_argument("skip", value, 0, INT64_MAX));
  } else if (has_value && name == "if") {
    names.input = value;
  } else if (has_value && name == "of") {
    names.output = value;
  } else {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "unrecognized operand " + name);
  }
}

jobs::DdJob read_arguments(Invocation& invocation) {
  jobs::DdJob job;
  job.reads_pipes = !invocation.as_qemu();
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
        job.input_format = reader.argument();
        break;
      case 'O':
        job.output_format = reader.argument();
        break;
      case kImageOpts:
        job.input_is_options = true;
        break;
      case 'U':
        job.force_share = true;
        break;
      default:
        break;
    }
  }
  DdNames names;
  for (const std::string& operand : reader.names()) read_operand(operand, names, job.range);
  if (!names.input.has_value() || !names.output.has_value()) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "Must specify both input and output files");
  }
  job.input = *names.input;
  job.output = *names.output;
  return job;
}

}  // namespace

int run_dd(Invocation& invocation) {
  jobs::DdJob job = read_arguments(invocation);
  invocation.output_is_result = false;
  InterruptibleScope scope;
  job.on_cannot_skip = [&invocation, input = job.input] {
    print_error(invocation, input + ": cannot skip to specified offset");
  };
  job.on_warning = [&invocation](const std::string& text) { print_warning(invocation, text); };
  job.on_open_warning = open_warning_printer(invocation);
  job.cancellation = &scope.cancellation();
  Loop loop;
  loop.run(jobs::dd_images(std::move(job)));
  return 0;
}

}  // namespace byre::cli
