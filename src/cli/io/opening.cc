// SPDX-License-Identifier: Apache-2.0
#include "cli/io/opening.h"

#include <cerrno>

#include "byre/error.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "open/open.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void refuse_value(const char* option, const std::string& text) {
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              "Invalid " + std::string(option) + " option: " + text);
}

// An error of open_image() without its outermost "Could not open '<name>': ", which qemu-io words
// otherwise.
Error inner_error(const Error& error, const std::string& filename) {
  const std::string prefix = "Could not open '" + filename + "': ";
  if (!error.message().starts_with(prefix)) return error;
  return Error(error.kind(), error.errno_value(), error.message().substr(prefix.size()),
               error.hint());
}

open::ImageOptions image_options(const OpenRequest& request) {
  open::ImageOptions options;
  for (const auto& [name, value] : request.options) {
    if (name != "driver") refuse_unsupported("the option '" + name + "'");
    options.format = value;
  }
  if (request.snapshot) refuse_unsupported("-s");
  if (request.copy_on_read) refuse_unsupported("-C");
  options.writable = !request.read_only;
  options.force_share = request.force_share;
  options.cache = request.cache;
  options.io = request.io;
  return options;
}

constexpr const char* kProbedRaw =
    "         Automatically detecting the format is dangerous for raw images, write operations on "
    "block 0 will be restricted.\n"
    "         Specify the 'raw' format explicitly to remove the restrictions.\n";

}  // namespace

void OpenRequest::set_cache(const std::string& text) {
  const std::optional<storage::CacheMode> mode = storage::parse_cache_mode(text);
  if (!mode.has_value()) refuse_value("cache", text);
  cache = *mode;
}

void OpenRequest::set_discard(const std::string& text) {
  const bool is_on = text == "on" || text == "unmap";
  if (!is_on && text != "off" && text != "ignore") refuse_value("discard", text);
  unmap = is_on;
}

void OpenRequest::set_aio(const std::string& text) {
  if (text == "threads") {
    io = storage::IoBackend::kThreads;
  } else if (text == "io_uring") {
    io = storage::IoBackend::kUring;
  } else if (text == "native") {
    native_aio = true;
  } else {
    refuse_value("aio", text);
  }
}

void OpenRequest::add_options(const std::string& text, const Invocation& invocation) {
  for (const auto& [written, value] : split_options(text)) {
    if (value.has_value()) {
      options.emplace_back(written, *value);
      continue;
    }
    const bool is_off = written.starts_with("no");
    const std::string name = is_off ? written.substr(2) : written;
    const char* const state = is_off ? "off" : "on";
    print_warning(invocation, "short-form boolean option '" + written +
                                  "' deprecated\nPlease use " + name + "=" + state + " instead");
    options.emplace_back(name, state);
  }
}

Task<std::unique_ptr<BlockDevice>> open_device(OpenRequest request,
                                               std::function<void(const std::string&)> on_warning) {
  std::optional<Error> failure;
  std::unique_ptr<BlockDevice> device;
  const std::string filename = request.filename.value_or("");
  try {
    if (!request.filename.has_value()) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL, "Must specify either driver or file");
    }
    if (request.force_share && !request.read_only) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  "force-share=on can only be used with read-only images");
    }
    if (request.native_aio && !storage::is_direct(request.cache)) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  "aio=native was specified, but it requires cache.direct=on, which was not "
                  "specified.");
    }
    if (request.copy_on_read && request.read_only) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  "Can't use copy-on-read on read-only device");
    }
    open::ImageOptions options = image_options(request);
    options.on_warning = on_warning;
    device = co_await open::open_image(filename, std::move(options));
  } catch (const Error& error) {
    const std::string prefix =
        request.filename.has_value() ? "can't open device " + filename : "can't open";
    failure = inner_error(error, filename).with_prefix(prefix);
  }
  if (failure) throw *failure;
  if (request.options.empty() && !request.read_only && std::string(device->driver()) == "raw") {
    on_warning("WARNING: Image format was not specified for '" + filename +
               "' and probing guessed raw.\n" + kProbedRaw);
  }
  co_return device;
}

}  // namespace byre::cli::io
