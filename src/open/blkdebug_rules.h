// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "filter/blkdebug_rule.h"
#include "open/option_tree.h"

namespace byre::open {

// The rules of a blkdebug rules file: sections "[inject-error]" and "[set-state]" with lines of
// 'name = "value"'. Lines that are empty or begin with '#' say nothing. Throws Error in QEMU's
// words.
std::vector<filter::BlkdebugRule> parse_blkdebug_file(std::string_view text);

// The same from options, "inject-error.0.event" and so on, which are taken out.
std::vector<filter::BlkdebugRule> take_blkdebug_rules(OptionTree& options);

}  // namespace byre::open
