// SPDX-License-Identifier: Apache-2.0
// `resize`: a file name and a size, which may begin with a minus sign.
#include <cctype>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "jobs/resize.h"
#include "open/option_value.h"

namespace byre::cli {
namespace {

constexpr int kShrink = kLongOnly + 1;
constexpr int kPreallocation = kLongOnly + 2;

struct ResizeArguments {
  jobs::ResizeJob job;
  bool image_opts = false;
  bool quiet = false;
};

// The file name and the size, as they come up among the options.
class Operands {
 public:
  explicit Operands(OptionReader* reader) : reader_(reader) {}

  void add(const std::string& text) {
    if (!filename_) {
      filename_ = text;
      // Right after the file name "-1G" is a size; elsewhere it would be options.
      const std::string next = reader_->peek();
      if (next.size() > 1 && next[0] == '-' && std::isdigit(static_cast<unsigned char>(next[1]))) {
        size_ = reader_->take();
      }
    } else if (!size_) {
      size_ = text;
    } else {
      throw UsageError("Extra argument(s) in command line");
    }
  }

  // After the last option.
  void finish() {
    size_t index = 0;
    const std::vector<std::string> rest = reader_->names();
    for (std::optional<std::string>* operand : {&filename_, &size_}) {
      if (!*operand && index < rest.size()) *operand = rest[index++];
    }
    if (!size_ || index < rest.size()) throw UsageError("Expecting image file name and size");
  }

  const std::string& filename() const { return *filename_; }
  const std::string& size() const { return *size_; }

 private:
  OptionReader* reader_;
  std::optional<std::string> filename_;
  std::optional<std::string> size_;
};

jobs::SizeChange parse_change(const std::string& text) {
  using Kind = jobs::SizeChange::Kind;
  const char sign = text.empty() ? '\0' : text[0];
  const Kind kind = sign == '+' ? Kind::kGrow : sign == '-' ? Kind::kShrink : Kind::kTo;
  return {kind, open::parse_size_option("size", kind == Kind::kTo ? text : text.substr(1))};
}

Preallocation parse_mode(const std::string& text) {
  const std::optional<Preallocation> mode = preallocation_named(text);
  if (mode) return *mode;
  throw Error(ErrorKind::kInvalidArgument, EINVAL, "Invalid preallocation mode '" + text + "'");
}

ResizeArguments read_arguments(Invocation& invocation) {
  ResizeArguments arguments;
  arguments.job.image.on_warning = open_warning_printer(invocation);
  OptionReader reader(invocation, "-hf:q",
                      {{"help", 'h'},
                       {"format", 'f', true},
                       {"image-opts", kImageOpts},
                       {"preallocation", kPreallocation, true},
                       {"shrink", kShrink},
                       {"object", kObject, true},
                       {"quiet", 'q'}});
  Operands operands(&reader);
  while (const std::optional<int> option = reader.next()) {
    switch (*option) {
      case OptionReader::kOperand:
        operands.add(reader.argument());
        break;
      case 'f':
        arguments.job.image.format = reader.argument();
        break;
      case 'q':
        arguments.quiet = true;
        break;
      case kImageOpts:
        arguments.image_opts = true;
        break;
      case kPreallocation:
        arguments.job.preallocation = parse_mode(reader.argument());
        break;
      case kShrink:
        arguments.job.may_shrink = true;
        break;
      default:
        break;
    }
  }
  operands.finish();
  arguments.job.filename = operands.filename();
  arguments.job.change = parse_change(operands.size());
  if (arguments.image_opts) {
    set_image_opts(invocation, arguments.job.filename, arguments.job.image);
  }
  return arguments;
}

}  // namespace

int run_resize(Invocation& invocation) {
  ResizeArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  Loop loop;
  try {
    loop.run(jobs::resize(std::move(arguments.job)));
  } catch (const Error& error) {
    print_error(invocation, error);
    if (error.data().code == jobs::kShrinkNotAllowed) {
      print_warning(invocation,
                    "Shrinking an image will delete all data beyond the shrunken image's end. "
                    "Before performing such an operation, make sure there is no important data "
                    "there.");
    }
    return 1;
  }
  if (!arguments.quiet) print("Image resized.\n");
  return 0;
}

}  // namespace byre::cli
