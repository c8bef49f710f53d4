// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "open/option_tree.h"

namespace byre::open {

// The options of an image name of the form "json:{...}"; nothing for any other name. Members of
// objects and items of lists become options with dotted names. Throws Error with QEMU's message.
// Bounded in depth and in size, as images may contain such names for their backing files.
std::optional<OptionTree> parse_json_name(std::string_view name);

// The same for a JSON object alone. Throws Error with QEMU's message, without the prefix for names.
OptionTree parse_option_json(std::string_view text);

}  // namespace byre::open
