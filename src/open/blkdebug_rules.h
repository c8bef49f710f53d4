// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "filter/blkdebug_rule.h"
#include "open/option_tree.h"

namespace byre::open {

// Parses a blkdebug rules file: sections "[inject-error]" and "[set-state]" with lines of 'name =
// "value"'. Empty lines and lines that begin with '#' are ignored. Throws Error with QEMU's
// message.
std::vector<filter::BlkdebugRule> parse_blkdebug_file(std::string_view text);

// The same for options, "inject-error.0.event" and so on, which are removed from the tree.
std::vector<filter::BlkdebugRule> take_blkdebug_rules(OptionTree& options);

}  // namespace byre::open
