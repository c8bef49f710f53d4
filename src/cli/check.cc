// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/json_text.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/qemu_text.h"
#include "cli/signals.h"
#include "jobs/check.h"

namespace byre::cli {
namespace {

constexpr int kOutput = kLongOnly + 1;
constexpr int kDropUnreadable = kLongOnly + 2;

// QEMU's exit codes of `check`.
constexpr int kSound = 0;
constexpr int kCheckError = 1;
constexpr int kCorrupt = 2;
constexpr int kLeaks = 3;
constexpr int kNotSupported = 63;

struct CheckArguments {
  std::string filename;
  open::ImageOptions image;
  bool image_opts = false;
  std::string cache = "writeback";
  std::optional<jobs::RepairScope> repair;
  bool drops_unreadable = false;
  bool quiet = false;
  OutputFormat output = OutputFormat::kHuman;
};

void read_repair(CheckArguments& arguments, const std::string& text) {
  if (text != "leaks" && text != "all") {
    throw UsageError("--repair (-r) expects 'leaks' or 'all' not '" + text + "'");
  }
  arguments.repair = text == "all" ? jobs::RepairScope::kAll : jobs::RepairScope::kLeaks;
}

CheckArguments read_arguments(Invocation& invocation) {
  CheckArguments arguments;
  arguments.image = image_options(invocation);
  std::vector<LongOption> options{{"help", 'h'},
                                  {"format", 'f', true},
                                  {"repair", 'r', true},
                                  {"output", kOutput, true},
                                  {"object", kObject, true},
                                  {"image-opts", kImageOpts},
                                  {"cache", 'T', true},
                                  {"quiet", 'q'},
                                  {"force-share", 'U'}};
  if (!invocation.as_qemu()) options.push_back({"drop-unreadable", kDropUnreadable});
  OptionReader reader(invocation, "hf:r:T:qU", options);
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.image.format = reader.argument();
        break;
      case 'r':
        read_repair(arguments, reader.argument());
        break;
      case 'T':
        arguments.cache = reader.argument();
        break;
      case 'q':
        arguments.quiet = true;
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case 'U':
        arguments.image.force_share = true;
        break;
      case kDropUnreadable:
        arguments.drops_unreadable = true;
        break;
      case kOutput:
        arguments.output = parse_output_format(reader.argument());
        break;
      default:
        break;
    }
  }
  arguments.filename = reader.only_name();
  if (arguments.drops_unreadable && arguments.repair != jobs::RepairScope::kAll) {
    throw UsageError("--drop-unreadable requires --repair=all");
  }
  arguments.image.cache = parse_cache_option("source cache option", arguments.cache);
  if (arguments.image_opts) set_image_opts(invocation, arguments.filename, arguments.image);
  return arguments;
}

// Prints findings on standard error, many in one call.
class FindingPrinter {
 public:
  explicit FindingPrinter(const Invocation& invocation) : program_(invocation.program) {}
  ~FindingPrinter() { flush(); }

  void print_finding(const jobs::Finding& finding) {
    text_ += qemu_text(finding, program_);
    if (text_.size() >= kTextMax) flush();
  }
  void flush() {
    std::fwrite(text_.data(), 1, text_.size(), stderr);
    text_.clear();
  }

 private:
  static constexpr size_t kTextMax = 32768;

  const std::string program_;
  std::string text_;
};

std::string count_text(uint64_t count, const char* what) {
  return count == 0 ? std::string() : fmt::format("\n{} {}", count, what);
}

std::string fixed_text(uint64_t leaks, uint64_t corruptions) {
  return fmt::format(
      "The following inconsistencies were found and repaired:\n\n    {} leaked clusters\n    {} "
      "corruptions\n\nDouble checking the fixed image now...\n",
      leaks, corruptions);
}

std::string human_text(const jobs::CheckResult& result) {
  std::string text;
  if (result.corruptions + result.leaks + result.check_errors == 0) {
    text = "No errors were found on the image.\n";
  }
  text += count_text(result.corruptions,
                     "errors were found on the image.\n"
                     "Data may be corrupted, or further writes to the image may corrupt it.\n");
  text += count_text(result.leaks,
                     "leaked clusters were found on the image.\n"
                     "This means waste of disk space, but no harm to data.\n");
  text += count_text(result.check_errors, "internal errors have occurred during the check.\n");
  const auto& clusters = result.clusters;
  if (clusters.total != 0 && clusters.allocated != 0) {
    const double allocated = static_cast<double>(clusters.allocated);
    text += fmt::format(
        "{}/{} = {:.2f}% allocated, {:.2f}% fragmented, {:.2f}% compressed clusters\n",
        clusters.allocated, clusters.total, allocated * 100.0 / static_cast<double>(clusters.total),
        static_cast<double>(clusters.fragmented) * 100.0 / allocated,
        static_cast<double>(clusters.compressed) * 100.0 / allocated);
  }
  if (result.image_end_offset != 0) {
    text += fmt::format("Image end offset: {}\n", result.image_end_offset);
  }
  return text;
}

std::string json_text(const jobs::CheckReport& report) {
  const jobs::CheckResult& result = *report.result;
  JsonText json = JsonText::object();
  json.set("filename", report.filename).set("format", report.format);
  json.set("check-errors", result.check_errors);
  const auto set_if_any = [&json](const char* name, uint64_t value) {
    if (value != 0) json.set(name, value);
  };
  set_if_any("image-end-offset", result.image_end_offset);
  set_if_any("corruptions", result.corruptions);
  set_if_any("leaks", result.leaks);
  set_if_any("corruptions-fixed", report.corruptions_fixed);
  set_if_any("leaks-fixed", report.leaks_fixed);
  set_if_any("total-clusters", result.clusters.total);
  set_if_any("allocated-clusters", result.clusters.allocated);
  set_if_any("fragmented-clusters", result.clusters.fragmented);
  set_if_any("compressed-clusters", result.clusters.compressed);
  return json.to_text() + "\n";
}

int exit_code(const jobs::CheckResult& result) {
  if (result.check_errors != 0) return kCheckError;
  if (result.corruptions != 0) return kCorrupt;
  return result.leaks != 0 ? kLeaks : kSound;
}

jobs::CheckReport run_job(const Invocation& invocation, const CheckArguments& arguments) {
  FindingPrinter findings(invocation);
  InterruptibleScope interruptible;
  jobs::CheckJob job;
  job.filename = arguments.filename;
  job.image = arguments.image;
  job.options.cancellation = &interruptible.cancellation();
  job.options.on_finding = [&findings](const jobs::Finding& finding) {
    findings.print_finding(finding);
  };
  job.repair = arguments.repair;
  job.drops_unreadable = arguments.drops_unreadable;
  const bool tells = !arguments.quiet && arguments.output == OutputFormat::kHuman;
  job.on_fixed = [&findings, tells](uint64_t leaks, uint64_t corruptions) {
    findings.flush();
    if (tells) print(fixed_text(leaks, corruptions));
  };
  Loop loop;
  return loop.run(jobs::check(std::move(job)));
}

}  // namespace

int run_check(Invocation& invocation) {
  const CheckArguments arguments = read_arguments(invocation);
  const jobs::CheckReport report = run_job(invocation, arguments);
  if (!report.result) {
    print_error(invocation, "This image format does not support checks");
    return kNotSupported;
  }
  const jobs::CheckResult& result = *report.result;
  if (result.findings_unreported != 0) {
    print_warning(invocation, fmt::format("{} more findings were counted, but are not shown",
                                          result.findings_unreported));
  }
  if (result.check_errors != 0) print_error(invocation, "Check failed");
  if (!arguments.quiet) {
    print(arguments.output == OutputFormat::kJson ? json_text(report) : human_text(result));
  }
  return exit_code(result);
}

}  // namespace byre::cli
