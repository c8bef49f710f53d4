// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <utility>

#include "async/loop.h"
#include "block/close_after.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/json_text.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "cli/snapshot_option.h"
#include "jobs/measure.h"
#include "open/invalid_argument.h"
#include "open/open.h"

namespace byre::cli {
namespace {

constexpr int kOutput = kLongOnly + 1;
constexpr int kSize = kLongOnly + 2;

struct MeasureArguments {
  std::optional<std::string> filename;
  open::ImageOptions image;
  bool image_opts = false;
  std::string target_format = "raw";
  OptionList options;
  std::optional<uint64_t> size;
  OutputFormat output = OutputFormat::kHuman;
};

void read_names(const std::vector<std::string>& names, MeasureArguments& arguments) {
  if (names.size() > 1) throw open::invalid_argument("At most one filename argument is allowed.");
  if (!names.empty()) arguments.filename = names[0];
  if (!arguments.filename &&
      (arguments.image_opts || arguments.image.format || arguments.image.snapshot)) {
    throw open::invalid_argument("--image-opts, -f, and -l require a filename argument.");
  }
  if (!arguments.filename && !arguments.size) {
    throw open::invalid_argument("Either --size N or one filename must be specified.");
  }
  if (arguments.filename && arguments.size) {
    throw open::invalid_argument("--size N cannot be used together with a filename.");
  }
}

MeasureArguments read_arguments(Invocation& invocation) {
  MeasureArguments arguments;
  arguments.image = image_options(invocation);
  OptionReader reader(invocation, "hf:l:o:O:U",
                      {{"help", 'h'},
                       {"target-format", 'O', true},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"options", 'o', true},
                       {"snapshot", 'l', true},
                       {"object", kObject, true},
                       {"output", kOutput, true},
                       {"size", kSize, true},
                       {"force-share", 'U'}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.image.format = reader.argument();
        break;
      case 'l':
        arguments.image.snapshot = parse_snapshot_option(reader.argument(), invocation);
        break;
      case 'o':
        arguments.options.add(reader.argument());
        break;
      case 'O':
        arguments.target_format = reader.argument();
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case 'U':
        arguments.image.force_share = true;
        break;
      case kOutput:
        arguments.output = parse_output_format(reader.argument());
        break;
      case kSize:
        arguments.size = parse_size_argument("image size", reader.argument());
        break;
      default:
        break;
    }
  }
  read_names(reader.names(), arguments);
  return arguments;
}

open::CreationOptions target_options(const Invocation& invocation,
                                     const MeasureArguments& arguments) {
  open::CreationOptions options(arguments.target_format);
  try {
    options.apply(arguments.options.entries());
  } catch (const Error& error) {
    throw error.with_suffix(fmt::format("\n{}: Invalid options for file format '{}'",
                                        invocation.program, arguments.target_format));
  }
  return options;
}

std::string to_text(const jobs::MeasureReport& report, OutputFormat output) {
  if (output == OutputFormat::kHuman) {
    std::string text = fmt::format("required size: {}\nfully allocated size: {}\n",
                                   report.file.required, report.file.fully_allocated);
    if (report.bitmaps_size) text += fmt::format("bitmaps size: {}\n", *report.bitmaps_size);
    return text;
  }
  JsonText json = JsonText::object();
  json.set("required", report.file.required).set("fully-allocated", report.file.fully_allocated);
  if (report.bitmaps_size) json.set("bitmaps", *report.bitmaps_size);
  return json.to_text() + "\n";
}

}  // namespace

int run_measure(Invocation& invocation) {
  MeasureArguments arguments = read_arguments(invocation);
  InterruptibleScope interruptible;
  Loop loop;
  // The source comes first, as in QEMU: its errors are reported before those of the target.
  std::unique_ptr<BlockDevice> source;
  if (arguments.filename) {
    if (arguments.image_opts) set_image_opts(invocation, *arguments.filename, arguments.image);
    source = loop.run(open::open_image(*arguments.filename, arguments.image));
  }
  jobs::MeasureReport report;
  std::exception_ptr error;
  try {
    const open::CreationOptions target = target_options(invocation, arguments);
    report = loop.run(jobs::measure(source.get(), arguments.size.value_or(0), target,
                                    &interruptible.cancellation()));
  } catch (...) {
    error = std::current_exception();
  }
  if (source) loop.run(close_after(source.get(), error));
  if (error) std::rethrow_exception(error);
  print(to_text(report, arguments.output));
  return 0;
}

}  // namespace byre::cli
