// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "cli/change_arguments.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "jobs/amend.h"
#include "open/amend_options.h"
#include "open/invalid_argument.h"

namespace byre::cli {
namespace {

constexpr int kForce = kLongOnly + 1;

struct AmendArguments : ChangeArguments {
  jobs::AmendJob job;
  OptionList options;
};

// Without "--help": these mistakes have no pointer to it in QEMU.
std::string only_name(const OptionReader& reader) {
  const std::vector<std::string> names = reader.names();
  if (names.size() == 1) return names.front();
  throw open::invalid_argument("Expecting one image file name");
}

void print_amend_help(const std::string& format) {
  const auto options = open::amend_options_of(format);
  print("Amend options for '" + format + "':\n" + option_help(options));
}

void finish_arguments(Invocation& invocation, const OptionReader& reader,
                      AmendArguments& arguments) {
  jobs::AmendJob& job = arguments.job;
  if (arguments.options.empty()) throw UsageError("Must specify options (-o)");
  if (job.image.format && arguments.options.asks_for_help()) {
    print_amend_help(*job.image.format);
    throw Exit{0};
  }
  job.filename = only_name(reader);
  job.image.cache = parse_cache_option("cache option", arguments.cache);
  if (arguments.image_opts) set_image_opts(invocation, job.filename, job.image);
  job.options = arguments.options.entries();
}

AmendArguments read_arguments(Invocation& invocation) {
  AmendArguments arguments;
  jobs::AmendJob& job = arguments.job;
  job.image = image_options(invocation);
  job.image.reads_pipes = false;
  OptionReader reader(invocation, "ho:qpf:t:",
                      {{"help", 'h'},
                       {"object", kObject, true},
                       {"options", 'o', true},
                       {"quiet", 'q'},
                       {"progress", 'p'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"cache", 't', true},
                       {"force", kForce}});
  while (const std::optional<int> option = reader.next()) {
    if (arguments.take(*option, reader, job.image)) continue;
    switch (*option) {
      case 'o':
        arguments.options.add(reader.argument());
        break;
      case kForce:
        job.removes_bitmaps = true;
        break;
      default:
        break;
    }
  }
  finish_arguments(invocation, reader, arguments);
  return arguments;
}

}  // namespace

int run_amend(Invocation& invocation) {
  AmendArguments arguments = read_arguments(invocation);
  jobs::AmendJob& job = arguments.job;
  InterruptibleScope scope;
  Loop loop;
  if (arguments.options.asks_for_help()) {
    print_amend_help(loop.run(jobs::amended_format(job.filename, job.image)));
    return 0;
  }
  invocation.output_is_result = false;
  ProgressPrinter progress(arguments.progress_style(), 1.0);
  job.progress = &progress;
  job.cancellation = &scope.cancellation();
  loop.run(jobs::amend(std::move(job)));
  return 0;
}

}  // namespace byre::cli
