// SPDX-License-Identifier: Apache-2.0
// The driver "null-co".
#include <cerrno>
#include <utility>

#include "open/driver.h"
#include "open/option_value.h"
#include "storage/null_device.h"

namespace byre::open {

namespace {

constexpr const char* kName = "null-co://";

void parse_name(const std::string& filename, OptionTree&) {
  if (filename == kName) return;
  throw Error(ErrorKind::kInvalidArgument, EINVAL,
              "The only allowed filename for this driver is 'null-co://'");
}

Task<Node> open_with_driver(Chain&, NodeRequest& request) {
  for (const char* name : {"read-zeroes", "size", "latency-ns"}) request.describe_option(name);
  storage::NullOptions options;
  options.writable = request.flags.writable;
  options.size = take_size(request.options, "size").value_or(options.size);
  const uint64_t latency = take_number(request.options, "latency-ns").value_or(0);
  if (latency > INT64_MAX) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL, "latency-ns is invalid");
  }
  options.latency = std::chrono::nanoseconds(static_cast<int64_t>(latency));
  // Reads always return zeroes, whereas QEMU leaves the reader's memory unchanged, which would
  // expose old memory.
  take_bool(request.options, "read-zeroes");
  options.read_zeroes = true;
  Node node;
  node.names_parent = request.description.empty();
  node.description = request.description_text();
  const std::string name = node.names_parent ? kName : request.json_name();
  node.device = std::make_unique<storage::NullDevice>(options, name);
  co_return node;
}

}  // namespace

const Driver kNullDriver{
    .name = "null-co", .is_protocol = true, .parse_filename = parse_name, .open = open_with_driver};

}  // namespace byre::open
