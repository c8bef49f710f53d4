// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/json_text.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "cli/snapshot_option.h"
#include "cli/target_options.h"
#include "jobs/measure.h"
#include "open/open.h"
#include "qcow2/create/creation_limits.h"

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

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

void read_names(const std::vector<std::string>& names, MeasureArguments& arguments) {
  if (names.size() > 1) throw invalid("At most one filename argument is allowed.");
  if (!names.empty()) arguments.filename = names[0];
  if (!arguments.filename &&
      (arguments.image_opts || arguments.image.format || arguments.image.snapshot)) {
    throw invalid("--image-opts, -f, and -l require a filename argument.");
  }
  if (!arguments.filename && !arguments.size) {
    throw invalid("Either --size N or one filename must be specified.");
  }
  if (arguments.filename && arguments.size) {
    throw invalid("--size N cannot be used together with a filename.");
  }
}

MeasureArguments read_arguments(Invocation& invocation) {
  MeasureArguments arguments;
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

TargetOptions target_options(const Invocation& invocation, const MeasureArguments& arguments) {
  TargetOptions options(arguments.target_format);
  try {
    options.apply(arguments.options);
  } catch (const Error& error) {
    throw error.with_suffix(fmt::format("\n{}: Invalid options for file format '{}'",
                                        invocation.program, arguments.target_format));
  }
  return options;
}

int version_of(const std::string& text) {
  if (text == "0.10" || text == "v2") return 2;
  if (text == "1.1" || text == "v3") return 3;
  throw invalid("Invalid compatibility level: '" + text + "'");
}

Preallocation preallocation_of(const std::string& text) {
  const std::optional<Preallocation> mode = preallocation_named(text);
  if (!mode) throw invalid("invalid parameter value: " + text);
  return *mode;
}

bool is_on(const TargetOptions& options, const char* name) {
  const std::string text = options.get(name).value_or("off");
  return text == "on" || text == "yes" || text == "true" || text == "y";
}

uint64_t number_of(const TargetOptions& options, const char* name) {
  return parse_size(options.get(name).value_or("0")).value;
}

// The options that determine the size. Unlike `create`, `measure` ignores the others; the order of
// the checks is QEMU's.
qcow2::CreateOptions qcow2_options(const TargetOptions& target) {
  qcow2::CreateOptions options;
  options.extended_l2 = is_on(target, "extended_l2");
  options.cluster_size = number_of(target, "cluster_size");
  qcow2::check_cluster_size(options);
  if (const auto text = target.get("compat")) options.version = version_of(*text);
  options.refcount_bits = number_of(target, "refcount_bits");
  qcow2::check_refcount_bits(options);
  if (const auto text = target.get("preallocation")) {
    options.preallocation = preallocation_of(*text);
  }
  if (target.get("encrypt.format") == "luks") refuse_unsupported("encryption");
  options.backing_filename = target.get("backing_file");
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
  arguments.image.on_warning = open_warning_printer(invocation);
  arguments.image.reads_pipes = !invocation.as_qemu();
  InterruptibleScope interruptible;
  Loop loop;
  // The source comes first, as in QEMU: its errors are reported before those of the target.
  std::unique_ptr<BlockDevice> source;
  if (arguments.filename) {
    if (arguments.image_opts) set_image_opts(invocation, *arguments.filename, arguments.image);
    source = loop.run(open::open_image(*arguments.filename, arguments.image));
  }
  const TargetOptions target = target_options(invocation, arguments);
  const uint64_t size = arguments.size.value_or(0);
  jobs::MeasureReport report;
  if (target.format() == "qcow2") {
    report = loop.run(jobs::measure_qcow2(source.get(), size, qcow2_options(target),
                                          &interruptible.cancellation()));
  } else {
    report = jobs::measure_raw(source.get(), size);
  }
  if (source) loop.run(source->close());
  print(to_text(report, arguments.output));
  return 0;
}

}  // namespace byre::cli
