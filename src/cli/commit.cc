// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "cli/change_arguments.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "jobs/commit.h"

namespace byre::cli {
namespace {

struct CommitArguments : ChangeArguments {
  jobs::CommitJob job;
};

CommitArguments read_arguments(Invocation& invocation) {
  CommitArguments arguments;
  jobs::CommitJob& job = arguments.job;
  job.image = image_options(invocation);
  job.image.reads_pipes = false;
  OptionReader reader(invocation, "hqpf:t:db:r:",
                      {{"help", 'h'},
                       {"quiet", 'q'},
                       {"progress", 'p'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"cache", 't', true},
                       {"drop", 'd'},
                       {"base", 'b', true},
                       {"rate", 'r', true},
                       {"object", kObject, true}});
  while (const std::optional<int> option = reader.next()) {
    if (arguments.take(*option, reader, job.image)) continue;
    switch (*option) {
      case 'd':
        job.empties = false;
        break;
      case 'b':
        job.base = reader.argument();
        break;
      case 'r':
        job.bytes_per_second = parse_size_argument("rate limit", reader.argument());
        break;
      default:
        break;
    }
  }
  job.filename = reader.only_name();
  job.image.cache = parse_cache_option("cache option", arguments.cache);
  if (arguments.image_opts) set_image_opts(invocation, job.filename, job.image);
  return arguments;
}

}  // namespace

int run_commit(Invocation& invocation) {
  CommitArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  InterruptibleScope scope;
  Loop loop;
  {
    ProgressPrinter progress(arguments.progress_style(), 1.0);
    arguments.job.progress = &progress;
    arguments.job.cancellation = &scope.cancellation();
    loop.run(jobs::commit(std::move(arguments.job)));
  }
  if (!arguments.quiet) print("Image committed.\n");
  return 0;
}

}  // namespace byre::cli
