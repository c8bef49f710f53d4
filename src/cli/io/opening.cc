// SPDX-License-Identifier: Apache-2.0
#include "cli/io/opening.h"

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "byre/error.h"
#include "cli/messages.h"
#include "cli/option_list.h"
#include "filter/copy_on_read_device.h"
#include "open/open.h"
#include "open/temporary_overlay.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void refuse_value(const char* option, const std::string& text) {
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              "Invalid " + std::string(option) + " option: " + text);
}

// An error of open_image() without its outermost "Could not open '<name>': ", for which qemu-io has
// a different wording.
Error inner_error(const Error& error, const std::string& filename) {
  return error.without_prefix("Could not open '" + filename + "'");
}

// The options that can be changed for an open image.
constexpr std::string_view kCommonChanges[] = {"read-only",      "auto-read-only", "cache.direct",
                                               "cache.no-flush", "discard",        "detect-zeroes"};
constexpr std::string_view kRawChanges[] = {"offset", "size"};
constexpr std::string_view kQcow2Changes[] = {
    "lazy-refcounts",      "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "discard-no-unref",    "cache-size",           "l2-cache-size",         "l2-cache-entry-size",
    "refcount-cache-size", "cache-clean-interval"};

bool may_change(std::string_view name, std::string_view driver) {
  if (std::ranges::find(kCommonChanges, name) != std::end(kCommonChanges)) return true;
  if (driver == "raw") return std::ranges::find(kRawChanges, name) != std::end(kRawChanges);
  if (driver != "qcow2") return false;
  return name == "overlap-check" || name.starts_with("overlap-check.") ||
         name.starts_with("encrypt.") ||
         std::ranges::find(kQcow2Changes, name) != std::end(kQcow2Changes);
}

// A node and one of its options.
struct NodeOption {
  BlockDevice* node;
  std::string_view name;
};

// "file.discard" is "discard" of the node that is "file" of the image.
NodeOption find_option(BlockDevice& image, std::string_view name) {
  NodeOption found{&image, name};
  while (true) {
    const size_t dot = found.name.find('.');
    const std::vector<ChildDevice> children = found.node->children();
    const auto child = std::ranges::find_if(children, [&](const ChildDevice& each) {
      return dot != std::string_view::npos && found.name.substr(0, dot) == each.name;
    });
    if (child == children.end()) return found;
    found = {child->device, found.name.substr(dot + 1)};
  }
}

// Whether the open node has this value of an option that need not have been given.
bool is_so(const NodeOption& option, std::string_view value) {
  if (option.name == "driver") return value == option.node->driver();
  return option.name == "filename" && value == option.node->filename();
}

RequestPolicy policy_of(const OpenRequest& request) {
  RequestPolicy policy;
  policy.discard = request.unmap ? DiscardPolicy::kUnmap : DiscardPolicy::kIgnore;
  return policy;
}

open::ImageOptions image_options(const OpenRequest& request) {
  open::ImageOptions options;
  for (const auto& [name, value] : request.options) options.tree.set(name, value);
  options.name_is_tree = !request.filename.has_value();
  options.writable = !request.read_only && !request.snapshot;
  options.force_share = request.force_share;
  options.reads_pipes = request.reads_pipes;
  options.cache = request.cache;
  options.io = request.io;
  options.policy = policy_of(request);
  return options;
}

void check_flags(const OpenRequest& request) {
  if (request.native_aio && !storage::is_direct(request.cache)) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "aio=native was specified, but it requires cache.direct=on, which was not "
                "specified.");
  }
  if (request.copy_on_read && request.read_only) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "Can't use copy-on-read on read-only device");
  }
}

Task<std::unique_ptr<BlockDevice>> open_checked(OpenRequest request, OnWarning on_warning,
                                                Tell on_message) {
  check_flags(request);
  open::ImageOptions options = image_options(request);
  options.on_warning = std::move(on_warning);
  options.on_message = std::move(on_message);
  const std::string name = request.filename.value_or("");
  std::unique_ptr<BlockDevice> device = co_await open::open_image(name, std::move(options));
  if (request.snapshot) {
    const RequestPolicy policy = policy_of(request);
    device = co_await open::put_temporary_overlay(std::move(device), !request.read_only, policy);
  }
  if (!request.copy_on_read) co_return device;
  co_return std::make_unique<filter::CopyOnReadDevice>(std::move(device), "");
}

}  // namespace

bool OpenRequest::take_option(int letter, const std::string& argument) {
  switch (letter) {
    case 's':
      snapshot = true;
      return true;
    case 'n':
      set_cache("none");
      return true;
    case 'C':
      copy_on_read = true;
      return true;
    case 'r':
      read_only = true;
      return true;
    case 'k':
      native_aio = true;
      return true;
    case 'i':
      set_aio(argument);
      return true;
    case 't':
      set_cache(argument);
      return true;
    case 'd':
      set_discard(argument);
      return true;
    case 'U':
      force_share = true;
      return true;
    default:
      return false;
  }
}

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

bool OpenRequest::has_option(std::string_view name) const {
  return std::ranges::any_of(options, [&](const auto& option) { return option.first == name; });
}

bool OpenRequest::has_option(std::string_view name, std::string_view value) const {
  return std::ranges::any_of(
      options, [&](const auto& option) { return option.first == name && option.second == value; });
}

void OpenRequest::change_options(const OpenRequest& changes, BlockDevice& image) {
  for (const auto& [name, value] : changes.options) {
    const NodeOption option = find_option(image, name);
    if (may_change(option.name, option.node->driver())) {
      std::erase_if(options, [&](const auto& old) { return old.first == name; });
      options.emplace_back(name, value);
      continue;
    }
    if (is_so(option, value) || has_option(name, value)) continue;
    if (option.name == "file" || option.name == "backing") {
      throw Error(ErrorKind::kNotFound, ENODEV,
                  "Cannot find device='' nor node-name='" + value + "'");
    }
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "Cannot change the option '" + std::string(option.name) + "'");
  }
}

Task<std::unique_ptr<BlockDevice>> open_device(OpenRequest request, OnWarning on_warning,
                                               Tell on_message) {
  const std::string name = request.filename.value_or("");
  std::optional<Error> failure;
  try {
    co_return co_await open_checked(std::move(request), std::move(on_warning),
                                    std::move(on_message));
  } catch (const Error& error) {
    failure = inner_error(error, name);
  }
  throw *failure;
}

}  // namespace byre::cli::io
