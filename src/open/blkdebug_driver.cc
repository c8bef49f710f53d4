// SPDX-License-Identifier: Apache-2.0
// The driver "blkdebug".
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "base/checked.h"
#include "filter/blkdebug.h"
#include "open/blkdebug_rules.h"
#include "open/driver.h"
#include "open/invalid_argument.h"
#include "open/option_value.h"
#include "storage/text_file.h"

namespace byre::open {

namespace {

// Rules files are written by hand, so they are small.
constexpr size_t kRulesFileMax = 1 << 20;

// "blkdebug:CONFIG:IMAGE"; a name without "blkdebug:" is that of the image.
void parse_name(const std::string& filename, OptionTree& options) {
  constexpr std::string_view kPrefix = "blkdebug:";
  if (!filename.starts_with(kPrefix)) {
    options.set("x-image", filename);
    return;
  }
  const std::string rest = filename.substr(kPrefix.size());
  const size_t colon = rest.find(':');
  if (colon == std::string::npos) {
    throw invalid_argument("blkdebug requires both config file and image path");
  }
  if (colon > 0) options.set("config", rest.substr(0, colon));
  options.set("x-image", rest.substr(colon + 1));
}

std::string read_rules_file(const std::string& path) {
  std::string text;
  try {
    text = storage::read_text_file(path, kRulesFileMax + 1);
  } catch (const Error& error) {
    throw Error(error.kind(), error.errno_value(),
                "Could not read blkdebug config file: " + errno_text(error.errno_value()),
                fmt::format("the config file is '{}'", path));
  }
  if (text.size() > kRulesFileMax) {
    throw invalid_argument("Could not read blkdebug config file: " + errno_text(EFBIG));
  }
  return text;
}

// A limit on requests: below 2 GiB, and a multiple of `unit`.
uint64_t take_limit(OptionTree& options, const char* name, uint64_t unit) {
  const uint64_t value = take_size(options, name).value_or(0);
  if (value >= INT32_MAX || value % unit != 0) {
    throw invalid_argument(fmt::format("Cannot meet constraints with {} {}", name, value));
  }
  return value;
}

void take_limits(OptionTree& options, uint32_t alignment_below, filter::BlkdebugOptions& limits) {
  const uint64_t align = take_size(options, "align").value_or(0);
  if (align >= INT32_MAX || (align != 0 && !is_power_of_two(align))) {
    throw invalid_argument(fmt::format("Cannot meet constraints with align {}", align));
  }
  limits.align = static_cast<uint32_t>(align);
  const uint64_t unit = std::max<uint64_t>({align, alignment_below, 1});
  limits.max_transfer = take_limit(options, "max-transfer", unit);
  limits.opt_write_zero = take_limit(options, "opt-write-zero", unit);
  limits.max_write_zero =
      take_limit(options, "max-write-zero", std::max(unit, limits.opt_write_zero));
  limits.opt_discard = take_limit(options, "opt-discard", unit);
  limits.max_discard = take_limit(options, "max-discard", std::max(unit, limits.opt_discard));
}

// Lists of permissions that QEMU would acquire or refuse; byre locks what the node above asks for.
void take_permissions(OptionTree& options, const char* name, bool is_writable) {
  constexpr std::string_view kNames[] = {"consistent-read", "write", "write-unchanged", "resize"};
  const OptionTree list = options.take_group(name);
  for (const auto& [index, value] : list.entries()) {
    const auto* const text = std::get_if<std::string>(&value);
    if (text == nullptr || std::ranges::find(kNames, *text) == std::end(kNames)) {
      throw invalid_argument(
          fmt::format("Parameter 'null' does not accept value '{}'", text == nullptr ? "" : *text));
    }
    const bool writes = *text != "consistent-read" && std::string_view(name) == "take-child-perms";
    if (writes && !is_writable) {
      throw Error(ErrorKind::kPermission, EPERM, "Block node is read-only");
    }
  }
}

void describe(NodeRequest& request) {
  for (const auto& [name, value] : request.options.entries()) {
    const bool is_rule = name.starts_with("inject-error.") || name.starts_with("set-state.");
    if (is_rule) request.describe_option(name);
  }
  for (const char* name : {"align", "max-transfer", "opt-write-zero", "max-write-zero",
                           "opt-discard", "max-discard"}) {
    request.describe_option(name);
  }
}

Task<Node> open_with_driver(Chain& chain, NodeRequest& request) {
  describe(request);
  const bool has_own_options = !request.description.empty();
  request.describe_option("config");
  filter::BlkdebugOptions options;
  const auto config = request.options.take_text("config");
  if (config) options.rules = parse_blkdebug_file(read_rules_file(*config));
  for (filter::BlkdebugRule& rule : take_blkdebug_rules(request.options)) {
    options.rules.push_back(std::move(rule));
  }
  std::optional<std::string> image_name = request.options.find_string("x-image");
  request.options.remove("x-image");
  Node image =
      co_await chain.open_required_child(request, "image", Role::kFile, std::move(image_name));
  request.describe_child("image", image);
  take_limits(request.options, image.device->limits().request_alignment, options);
  take_permissions(request.options, "take-child-perms", !image.device->is_read_only());
  take_permissions(request.options, "unshare-child-perms", true);
  options.on_message = request.image.on_message;
  Node node;
  node.names_parent = !image.device->filename().starts_with("json:") && !has_own_options;
  node.description = request.description_text();
  options.filename = node.names_parent ? fmt::format("blkdebug:{}:{}", config.value_or(""),
                                                     image.device->filename())
                                       : request.json_name();
  node.device = std::make_unique<filter::Blkdebug>(std::move(image.device), std::move(options));
  co_return node;
}

}  // namespace

const Driver kBlkdebugDriver{.name = "blkdebug",
                             .is_protocol = true,
                             .parse_filename = parse_name,
                             .open = open_with_driver};

}  // namespace byre::open
