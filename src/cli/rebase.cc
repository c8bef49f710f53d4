// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "cli/change_arguments.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "jobs/rebase.h"

namespace byre::cli {
namespace {

struct RebaseArguments : ChangeArguments {
  jobs::RebaseJob job;
  std::string backing_cache = "writeback";
};

void take_option(int option, const OptionReader& reader, RebaseArguments& arguments) {
  jobs::RebaseJob& job = arguments.job;
  switch (option) {
    case 'b':
      job.backing = reader.argument();
      break;
    case 'F':
      job.backing_format = reader.argument();
      break;
    case 'T':
      arguments.backing_cache = reader.argument();
      break;
    case 'u':
      job.is_unsafe = true;
      break;
    case 'c':
      job.compressed = true;
      break;
    case 'U':
      job.backing_image.force_share = true;
      break;
    default:
      break;
  }
}

RebaseArguments read_arguments(Invocation& invocation) {
  RebaseArguments arguments;
  jobs::RebaseJob& job = arguments.job;
  job.image = image_options(invocation);
  job.image.reads_pipes = false;
  job.backing_image = job.image;
  OptionReader reader(invocation, "hf:t:b:F:T:ucqUp",
                      {{"help", 'h'},
                       {"quiet", 'q'},
                       {"progress", 'p'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"cache", 't', true},
                       {"compress", 'c'},
                       {"backing", 'b', true},
                       {"backing-format", 'F', true},
                       {"backing-cache", 'T', true},
                       {"backing-unsafe", 'u'},
                       {"force-share", 'U'},
                       {"object", kObject, true}});
  while (const std::optional<int> option = reader.next()) {
    if (!arguments.take(*option, reader, job.image)) take_option(*option, reader, arguments);
  }
  job.filename = reader.only_name();
  if (!job.is_unsafe && !job.backing) {
    throw UsageError("Must specify backing file (-b) or use unsafe mode (-u)");
  }
  job.image.cache = parse_cache_option("cache option", arguments.cache);
  job.backing_image.cache = parse_cache_option("source cache option", arguments.backing_cache);
  if (arguments.image_opts) set_image_opts(invocation, job.filename, job.image);
  return arguments;
}

void warn_of_snapshots(const Invocation& invocation, const std::string& filename,
                       const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names)
    list += fmt::format("{}'{}'", list.empty() ? "" : ", ", name);
  print_warning(invocation,
                fmt::format("only the disk of '{}' keeps its contents: these snapshots read what "
                            "they do not have themselves from the new backing file: {}",
                            filename, list));
}

}  // namespace

int run_rebase(Invocation& invocation) {
  RebaseArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  jobs::RebaseJob& job = arguments.job;
  const std::string filename = job.filename;
  InterruptibleScope scope;
  Loop loop;
  ProgressPrinter progress(arguments.progress_style(), 1.0);
  job.progress = &progress;
  job.cancellation = &scope.cancellation();
  if (!invocation.as_qemu()) {
    job.on_changed_snapshots = [&](const std::vector<std::string>& names) {
      warn_of_snapshots(invocation, filename, names);
    };
  }
  try {
    loop.run(jobs::rebase(std::move(job)));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled && !invocation.as_qemu()) {
      print_error(invocation, fmt::format("interrupted: '{}' has its old backing file and reads as "
                                          "before; the same command does what is left",
                                          filename));
    }
    throw;
  }
  return 0;
}

}  // namespace byre::cli
