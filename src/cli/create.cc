// SPDX-License-Identifier: Apache-2.0
// `create`: the arguments, and the line that describes the new image.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "cli/sizes.h"
#include "jobs/create_job.h"

namespace byre::cli {
namespace {

struct CreateArguments {
  jobs::CreateJob job;  // without its functions
  OptionList options;
  bool quiet = false;
};

void read_names(const std::vector<std::string>& names, CreateArguments& arguments) {
  if (names.empty()) throw UsageError("Expecting image file name");
  arguments.job.filename = names[0];
  if (names.size() > 1) arguments.job.size = parse_size_argument("image size", names[1]);
  if (names.size() > 2) throw UsageError("Unexpected argument: " + names[2]);
}

CreateArguments read_arguments(Invocation& invocation) {
  CreateArguments arguments;
  OptionReader reader(invocation, "hqf:o:b:F:u",
                      {{"help", 'h'},
                       {"quiet", 'q'},
                       {"object", kObject, true},
                       {"format", 'f', true},
                       {"options", 'o', true},
                       {"backing", 'b', true},
                       {"backing-format", 'F', true},
                       {"backing-unsafe", 'u'}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'q':
        arguments.quiet = true;
        break;
      case 'f':
        arguments.job.format = reader.argument();
        break;
      case 'o':
        arguments.options.add(reader.argument());
        break;
      case 'b':
        arguments.job.backing_filename = reader.argument();
        break;
      case 'F':
        arguments.job.backing_format = reader.argument();
        break;
      case 'u':
        arguments.job.checks_backing = false;
        break;
      default:
        break;
    }
  }
  if (arguments.options.asks_for_help()) {
    const std::vector<std::string> names = reader.names();
    print_option_help(arguments.job.format,
                      names.empty() ? std::nullopt : std::optional(names.front()));
    throw Exit{0};
  }
  read_names(reader.names(), arguments);
  arguments.job.options = arguments.options.entries();
  return arguments;
}

}  // namespace

int run_create(Invocation& invocation) {
  CreateArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  jobs::CreateJob& job = arguments.job;
  const std::string filename = job.filename;
  if (!arguments.quiet) {
    job.on_options = [filename](const open::CreationOptions& options) {
      print("Formatting '" + filename + "', fmt=" + options.format() + " " + options.to_text() +
            "\n");
    };
  }
  job.on_warning = [&invocation](const std::string& text) { print_warning(invocation, text); };
  Loop loop;
  try {
    loop.run(jobs::create(std::move(job)));
  } catch (const Error& error) {
    throw error.with_prefix(filename);
  }
  return 0;
}

}  // namespace byre::cli
