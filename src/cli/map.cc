// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cerrno>
#include <iterator>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/sizes.h"
#include "jobs/map.h"

namespace byre::cli {
namespace {

constexpr int kOutput = kLongOnly + 1;
constexpr int kStartOffset = kLongOnly + 2;
constexpr int kMaxLength = kLongOnly + 3;

struct MapArguments {
  std::string filename;
  open::ImageOptions image;
  bool image_opts = false;
  uint64_t start_offset = 0;
  std::optional<uint64_t> max_length;
  OutputFormat output = OutputFormat::kHuman;
};

MapArguments read_arguments(Invocation& invocation) {
  MapArguments arguments;
  arguments.image = image_options(invocation);
  OptionReader reader(invocation, "hf:s:l:U",
                      {{"help", 'h'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"start-offset", kStartOffset, true},
                       {"max-length", kMaxLength, true},
                       {"force-share", 'U'},
                       {"output", kOutput, true},
                       {"object", kObject, true}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.image.format = reader.argument();
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
      case 's':
      case kStartOffset:
        arguments.start_offset = parse_size_argument("start offset", reader.argument());
        break;
      case 'l':
      case kMaxLength:
        arguments.max_length = parse_size_argument("max length", reader.argument());
        break;
      default:
        break;
    }
  }
  arguments.filename = reader.only_name();
  return arguments;
}

// Collects lines: an image may have millions of runs.
class MapPrinter {
 public:
  explicit MapPrinter(OutputFormat output) : output_(output) {
    if (output_ == OutputFormat::kHuman) {
      text_ = fmt::format("{:<16}{:<16}{:<16}{}\n", "Offset", "Length", "Mapped to", "File");
    } else {
      text_ = "[";
    }
  }
  // Without finish(), the output ends as QEMU's does: before the run that could not be determined.
  ~MapPrinter() {
    if (!is_finished_ && !is_first_) text_ += ",\n";
    print(text_);
  }

  void print_extent(const Extent& extent) {
    if (output_ == OutputFormat::kHuman) {
      add_row(extent);
    } else {
      add_object(extent);
    }
    if (text_.size() < kTextMax) return;
    print(text_);
    text_.clear();
  }
  void finish() {
    if (output_ == OutputFormat::kJson) text_ += "]\n";
    is_finished_ = true;
  }

 private:
  static constexpr size_t kTextMax = 60000;

  // Like printf's "%#-16x": 0 has no 0x.
  void add_column(uint64_t value) {
    if (value == 0) {
      fmt::format_to(std::back_inserter(text_), "{:<16}", 0);
    } else {
      fmt::format_to(std::back_inserter(text_), "{:<#16x}", value);
    }
  }
  void add_row(const Extent& extent) {
    if (!extent.data) return;
    if (!extent.host_offset) {
      throw Error(
          ErrorKind::kUnsupported, EINVAL,
          "File contains external, encrypted or compressed clusters.",
          fmt::format("the one at offset {:#x}; --output=json shows them all", extent.offset));
    }
    if (extent.zero) return;
    add_column(extent.offset);
    add_column(extent.length);
    add_column(*extent.host_offset);
    text_ += extent.file->filename();
    text_ += '\n';
  }
  void add_object(const Extent& extent) {
    if (!is_first_) text_ += ",\n";
    is_first_ = false;
    fmt::format_to(
        std::back_inserter(text_),
        "{{ \"start\": {}, \"length\": {}, \"depth\": {}, \"present\": {}, \"zero\": {}, "
        "\"data\": {}, \"compressed\": {}",
        extent.offset, extent.length, extent.depth, extent.present, extent.zero, extent.data,
        extent.compressed);
    if (extent.host_offset) {
      fmt::format_to(std::back_inserter(text_), ", \"offset\": {}", *extent.host_offset);
    }
    text_ += '}';
  }

  const OutputFormat output_;
  bool is_first_ = true;  // of the objects
  bool is_finished_ = false;
  std::string text_;
};

}  // namespace

int run_map(Invocation& invocation) {
  MapArguments arguments = read_arguments(invocation);
  if (arguments.image_opts) set_image_opts(invocation, arguments.filename, arguments.image);
  std::optional<MapPrinter> printer;
  InterruptibleScope interruptible;
  jobs::MapJob job;
  job.filename = arguments.filename;
  job.image = arguments.image;
  job.start_offset = arguments.start_offset;
  job.max_length = arguments.max_length;
  job.cancellation = &interruptible.cancellation();
  // Nothing is printed before the image is open.
  job.on_open = [&] { printer.emplace(arguments.output); };
  job.on_extent = [&](const Extent& extent) { printer->print_extent(extent); };
  Loop loop;
  loop.run(jobs::map(std::move(job)));
  printer->finish();
  return 0;
}

}  // namespace byre::cli
