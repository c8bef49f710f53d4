// SPDX-License-Identifier: Apache-2.0
#include "cli/snapshot_option.h"

#include <cerrno>

#include "byre/error.h"
#include "cli/option_list.h"

namespace byre::cli {

qcow2::SnapshotSelector parse_snapshot_option(const std::string& text, const std::string& program) {
  qcow2::SnapshotSelector selector;
  if (!text.starts_with("snapshot.")) {
    selector.id_or_name = text;
    return selector;
  }
  OptionList list;
  list.add(text);
  for (const auto& [name, value] : list.entries()) {
    if (name == "snapshot.id") {
      selector.id = value;
    } else if (name == "snapshot.name") {
      selector.name = value;
    } else {
      throw Error(ErrorKind::kInvalidArgument, EINVAL,
                  "Invalid parameter '" + name + "'\n" + program +
                      ": Failed in parsing snapshot param '" + text + "'");
    }
  }
  return selector;
}

}  // namespace byre::cli
