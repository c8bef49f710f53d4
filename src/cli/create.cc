// SPDX-License-Identifier: Apache-2.0
// `create`: the arguments, the backing file's effect on the options, the line that describes the
// new image.
#include <cerrno>
#include <memory>
#include <set>
#include <utility>

#include "async/loop.h"
#include "cli/command.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/sizes.h"
#include "cli/target_options.h"
#include "jobs/create.h"
#include "jobs/file_identities.h"
#include "jobs/info.h"
#include "open/open.h"

namespace byre::cli {
namespace {

struct CreateArguments {
  std::string format = "raw";
  OptionList options;
  std::optional<std::string> backing_filename;
  std::optional<std::string> backing_format;
  bool backing_unchecked = false;  // -u
  bool quiet = false;
  std::string filename;
  std::optional<uint64_t> size;
};

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

Error same_file() {
  return invalid("Error: Trying to create an image with the same filename as the backing file");
}

void read_names(const std::vector<std::string>& names, CreateArguments& arguments) {
  if (names.empty()) throw UsageError("Expecting image file name");
  arguments.filename = names[0];
  if (names.size() > 1) arguments.size = parse_size_argument("image size", names[1]);
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
        arguments.format = reader.argument();
        break;
      case 'o':
        arguments.options.add(reader.argument());
        break;
      case 'b':
        arguments.backing_filename = reader.argument();
        break;
      case 'F':
        arguments.backing_format = reader.argument();
        break;
      case 'u':
        arguments.backing_unchecked = true;
        break;
      default:
        break;
    }
  }
  if (arguments.options.asks_for_help()) {
    const std::vector<std::string> names = reader.names();
    print_option_help(arguments.format,
                      names.empty() ? std::nullopt : std::optional(names.front()));
    throw Exit{0};
  }
  read_names(reader.names(), arguments);
  return arguments;
}

// -b and -F are equivalent to -o backing_file= and backing_fmt=.
void apply_backing_arguments(const CreateArguments& arguments, TargetOptions& options) {
  if (arguments.backing_filename) {
    if (!options.has_option("backing_file")) {
      throw invalid("Backing file not supported for file format '" + options.format() + "'");
    }
    options.set("backing_file", *arguments.backing_filename);
  }
  if (arguments.backing_format) {
    if (!options.has_option("backing_fmt")) {
      throw invalid("Backing file format not supported for file format '" + options.format() + "'");
    }
    options.set("backing_fmt", *arguments.backing_format);
  }
  const std::optional<std::string> backing = options.get("backing_file");
  if (!backing) return;
  if (backing->empty()) throw invalid("Expected backing file name, got empty string");
  if (*backing == arguments.filename) throw same_file();
}

struct Backing {
  uint64_t size = 0;
  std::string format;
};

// An image that the backing image needs must not be replaced by the new one. Images that cannot be
// opened are not examined: the new image may be meant to replace them.
Task<void> refuse_to_lose_backing(std::string filename, std::string path,
                                  std::optional<std::string> format) {
  const std::optional<storage::FileIdentity> target = jobs::identity_of(filename);
  if (!target) co_return;
  if (jobs::identity_of(path) == target) throw same_file();
  open::ImageOptions options;
  options.format = std::move(format);
  options.force_share = true;
  std::set<storage::FileIdentity> files;
  try {
    const std::unique_ptr<BlockDevice> image = co_await open::open_image(path, options);
    files = jobs::files_below(*image);
    co_await image->close();
  } catch (const Error&) {
    files.clear();
  }
  if (files.contains(*target)) throw same_file();
}

Task<Backing> look_at_backing(std::string path, std::optional<std::string> format) {
  open::ImageOptions options;
  options.format = std::move(format);
  options.metadata_only = true;
  options.force_share = true;
  std::unique_ptr<BlockDevice> image = co_await open::open_image(path, options);
  Backing backing;
  backing.size = image->size();
  backing.format = open::as_qcow2(image.get()) != nullptr ? "qcow2" : "raw";
  co_await image->close();
  co_return backing;
}

// Opens the backing image, unless -u is given: it must exist and have the specified format, and it
// determines the size if none was given.
void apply_backing_image(const CreateArguments& arguments, TargetOptions& options) {
  const std::optional<std::string> name = options.get("backing_file");
  if (!name) return;
  const std::optional<std::string> format = options.get("backing_fmt");
  const std::string path = jobs::backing_path(arguments.filename, *name);
  if (arguments.backing_unchecked) {
    if (!format) throw invalid("Backing file specified without backing format");
    Loop loop;
    loop.run(refuse_to_lose_backing(arguments.filename, path, format));
    return;
  }
  Backing backing;
  try {
    Loop loop;
    backing = loop.run(look_at_backing(path, format));
  } catch (const Error& error) {
    // QEMU does not print the prefix of open_image() here.
    throw error.without_prefix("Could not open '" + path + "'")
        .with_suffix("\nCould not open backing image.");
  }
  if (!format) {
    throw invalid("Backing file specified without backing format\nDetected format of " +
                  backing.format + ".");
  }
  if (!options.get("size")) options.set_size(backing.size);
  Loop loop;
  loop.run(refuse_to_lose_backing(arguments.filename, path, format));
}

void create(const Invocation& invocation, const CreateArguments& arguments) {
  TargetOptions options(arguments.format);
  jobs::require_file(arguments.filename);
  options.set_filename(arguments.filename);
  options.apply(arguments.options);
  apply_backing_arguments(arguments, options);
  if (arguments.size) {
    if (options.get("size")) throw invalid("The image size must be specified only once");
    options.set_size(*arguments.size);
  }
  apply_backing_image(arguments, options);
  // QEMU treats the largest number as none.
  if (!options.get("size") || options.size() == UINT64_MAX) {
    throw invalid("Image creation needs a size parameter");
  }

  if (!arguments.quiet) {
    print("Formatting '" + arguments.filename + "', fmt=" + options.format() + " " +
          options.to_text() + "\n");
  }
  Loop loop;
  jobs::NewImage image = options.to_image(arguments.filename);
  image.on_warning = [&invocation](const std::string& text) { print_warning(invocation, text); };
  loop.run(jobs::create_image(std::move(image)));
}

}  // namespace

int run_create(Invocation& invocation) {
  const CreateArguments arguments = read_arguments(invocation);
  invocation.output_is_result = false;
  try {
    create(invocation, arguments);
  } catch (const Error& error) {
    Error told = error;
    if (error.errno_value() == EFBIG && arguments.format == "raw") {
      told = Error(error.kind(), EFBIG, "The image size is too large for file format 'raw'");
    }
    throw told.with_prefix(arguments.filename);
  }
  return 0;
}

}  // namespace byre::cli
