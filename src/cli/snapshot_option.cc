// SPDX-License-Identifier: Apache-2.0
#include "cli/snapshot_option.h"

#include <cerrno>

#include "byre/error.h"
#include "cli/messages.h"
#include "cli/option_list.h"

namespace byre::cli {
namespace {

constexpr open::OptionDescription kOptions[] = {
    {"snapshot.id", open::OptionKind::kString, "snapshot id"},
    {"snapshot.name", open::OptionKind::kString, "snapshot name"},
};

// Name and value of a name without a value.
std::pair<std::string, std::string> as_switch(const std::string& written,
                                              const Invocation& invocation) {
  const bool is_off = written.starts_with("no");
  std::pair<std::string, std::string> option{is_off ? written.substr(2) : written,
                                             is_off ? "off" : "on"};
  print_warning(invocation, "short-form boolean option '" + written + "' deprecated\nPlease use " +
                                option.first + "=" + option.second + " instead");
  return option;
}

}  // namespace

open::SnapshotSelector parse_snapshot_option(const std::string& text,
                                             const Invocation& invocation) {
  open::SnapshotSelector selector;
  if (!text.starts_with("snapshot.")) {
    selector.id_or_name = text;
    return selector;
  }
  const std::string failure = "Failed in parsing snapshot param '" + text + "'";
  for (const auto& [written, given] : split_options(text)) {
    if (!given.has_value() && (written == "help" || written == "?")) {
      print("snapshot options:\n" + option_help(kOptions));
      throw Error(ErrorKind::kInvalidArgument, EINVAL, failure);
    }
    const auto [name, value] =
        given.has_value() ? std::pair(written, *given) : as_switch(written, invocation);
    if (name == "snapshot.id") {
      selector.id = value;
    } else if (name == "snapshot.name") {
      selector.name = value;
    } else {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  "Invalid parameter '" + name + "'\n" + invocation.program + ": " + failure);
    }
  }
  return selector;
}

}  // namespace byre::cli
