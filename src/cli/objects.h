// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include "cli/command.h"

namespace byre::cli {

// The objects that `--object` defines and that options refer to by their id: of QEMU's kinds byre
// has "secret". Nothing uses a secret yet; they are read and checked so that what would fail under
// QEMU fails here.
class Objects {
 public:
  // `text` is "secret,id=NAME,data=TEXT", or the same as a JSON object. Throws Error with QEMU's
  // message. "help" prints the kinds, or the properties of a kind, and throws Exit.
  void add(const std::string& text, const Invocation& invocation);

 private:
  std::set<std::string> ids_;
};

}  // namespace byre::cli
