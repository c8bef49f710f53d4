// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "open/option_tree.h"

namespace byre::open {

// The options that an image's name of the form "json:{...}" gives; nothing for any other name.
// Members of objects and items of lists become options with dotted names. Throws Error in QEMU's
// words. Bounded in depth and in size, as such names also stand in images as those of their backing
// files.
std::optional<OptionTree> parse_json_name(std::string_view name);

// The same for a JSON object alone. Throws Error in QEMU's words, without the prefix that names
// have.
OptionTree parse_option_json(std::string_view text);

}  // namespace byre::open
