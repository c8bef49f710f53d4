// SPDX-License-Identifier: Apache-2.0
// `compare`: 0 equal, 1 different, 2 an image cannot be opened, 3 its extents cannot be read, 4
// its data cannot be read.
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "jobs/compare.h"
#include "open/open.h"

namespace byre::cli {
namespace {

constexpr int kEqual = 0;
constexpr int kDifferent = 1;
constexpr int kOpenFailed = 2;
constexpr int kExtentsFailed = 3;
constexpr int kReadFailed = 4;

struct CompareArguments {
  std::optional<std::string> formats[2];
  std::string filenames[2];
  std::string cache = "writeback";
  bool image_opts = false;
  bool progress = false;
  bool quiet = false;
  bool strict = false;
  bool force_share = false;
};

CompareArguments read_arguments(Invocation& invocation) {
  CompareArguments arguments;
  OptionReader reader(invocation, "hf:F:T:pqsU",
                      {{"help", 'h'},
                       {"a-format", 'f', true},
                       {"left-format", 'f', true},
                       {"b-format", 'F', true},
                       {"right-format", 'F', true},
                       {"image-opts", kImageOpts},
                       {"strict", 's'},
                       {"cache", 'T', true},
                       {"force-share", 'U'},
                       {"progress", 'p'},
                       {"quiet", 'q'},
                       {"object", kObject, true}});
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case 'f':
        arguments.formats[0] = reader.argument();
        break;
      case 'F':
        arguments.formats[1] = reader.argument();
        break;
      case 'T':
        arguments.cache = reader.argument();
        break;
      case 'p':
        arguments.progress = true;
        break;
      case 'q':
        arguments.quiet = true;
        break;
      case 's':
        arguments.strict = true;
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
  const std::vector<std::string> names = reader.names();
  if (names.size() != 2) throw UsageError("Expecting two image file names");
  arguments.filenames[0] = names[0];
  arguments.filenames[1] = names[1];
  return arguments;
}

class CompareCommand {
 public:
  CompareCommand(const Invocation& invocation, const CompareArguments& arguments,
                 Cancellation& cancellation)
      : invocation_(invocation), arguments_(arguments), cancellation_(cancellation) {}

  // Errors of opening are passed on unchanged.
  Task<void> open() {
    const storage::CacheMode cache = parse_cache_option("source cache option", arguments_.cache);
    for (int i = 0; i < 2; ++i) {
      open::ImageOptions options = image_options(invocation_);
      options.format = arguments_.formats[i];
      options.cache = cache;
      options.force_share = arguments_.force_share;
      if (arguments_.image_opts) set_image_opts(invocation_, arguments_.filenames[i], options);
      images_[i] = co_await open::open_image(arguments_.filenames[i], options);
    }
  }

  Task<int> compare(Progress& progress) {
    jobs::CompareOptions options;
    options.strict = arguments_.strict;
    options.on_size_difference = [this] { tell("Warning: Image size mismatch!\n"); };
    const jobs::CompareResult result =
        co_await jobs::compare(*images_[0], *images_[1], options, &progress, &cancellation_);
    const std::string offset = std::to_string(result.offset);
    switch (result.kind) {
      case jobs::CompareResult::Kind::kEqual:
        tell("Images are identical.\n");
        co_return kEqual;
      case jobs::CompareResult::Kind::kSizeDiffers:
        tell("Strict mode: Image size mismatch!\n");
        break;
      case jobs::CompareResult::Kind::kStateDiffers:
        tell("Strict mode: Offset " + offset + " block status mismatch!\n");
        break;
      case jobs::CompareResult::Kind::kContentDiffers:
        tell("Content mismatch at offset " + offset + "!\n");
        break;
    }
    co_return kDifferent;
  }

  // Nothing was written: an error of closing does not change the answer.
  Task<void> close() {
    for (std::unique_ptr<BlockDevice>& image : images_) {
      if (image == nullptr) continue;
      try {
        co_await image->close();
      } catch (const Error&) {
      }
    }
  }

 private:
  void tell(const std::string& text) const {
    if (!arguments_.quiet) print(text);
  }

  const Invocation& invocation_;
  const CompareArguments& arguments_;
  Cancellation& cancellation_;
  std::unique_ptr<BlockDevice> images_[2];
};

int compare_images(Loop& loop, CompareCommand& command, ProgressPrinter& progress,
                   const Invocation& invocation) {
  try {
    return loop.run(command.compare(progress));
  } catch (const jobs::CompareError& error) {
    print_error(invocation, error);
    return error.stage() == jobs::CompareError::Stage::kRead ? kReadFailed : kExtentsFailed;
  }
}

}  // namespace

int run_compare(Invocation& invocation) {
  Loop loop;
  std::optional<CompareArguments> arguments;
  try {
    arguments = read_arguments(invocation);
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    print_error(invocation, error);
    return kOpenFailed;
  }
  InterruptibleScope scope;
  CompareCommand command(invocation, *arguments, scope.cancellation());
  const bool shows_progress = arguments->progress && !arguments->quiet;
  int result = kOpenFailed;
  bool is_open = false;
  try {
    loop.run(command.open());
    is_open = true;
    ProgressPrinter progress(shows_progress ? ProgressStyle::kText : ProgressStyle::kNone, 2.0);
    result = compare_images(loop, command, progress, invocation);
  } catch (const Error& error) {
    loop.run(command.close());
    if (error.kind() == ErrorKind::kCancelled) throw;
    print_error(invocation, error);
    // The end of a progress line that was never begun, as in QEMU.
    if (!is_open && shows_progress) print("\n");
    return kOpenFailed;
  }
  loop.run(command.close());
  return result;
}

}  // namespace byre::cli
