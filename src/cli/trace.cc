// SPDX-License-Identifier: Apache-2.0
#include "cli/trace.h"

#include <cerrno>

#include "byre/error.h"
#include "cli/messages.h"
#include "cli/option_list.h"

namespace byre::cli {

void apply_trace_option(const Invocation& invocation, const std::string& text) {
  bool is_first = true;
  for (const auto& [name, value] : split_options(text)) {
    // The first one may omit its name.
    const bool is_bare = !value.has_value() && is_first;
    is_first = false;
    if (is_bare || name == "enable") {
      const std::string& pattern = is_bare ? name : value.value_or("on");
      if (pattern.empty() || pattern.find_first_of("*?[") != std::string::npos) continue;
      print_warning(invocation, "trace event '" + pattern + "' does not exist");
    } else if (name != "events" && name != "file") {
      throw Error(ErrorKind::kInvalidArgument, EINVAL, "Invalid parameter '" + name + "'");
    }
  }
}

}  // namespace byre::cli
