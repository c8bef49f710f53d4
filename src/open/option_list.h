// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "open/option_tree.h"

namespace byre::open {

// The words of `--image-opts`: "driver=qcow2,file.filename=disk.qcow2". A comma in a value is
// written as two. The first word may do without a name, which is then "file". Another word without
// a value is "on", or "off" where it begins with "no"; `warnings` gets QEMU's line on each of
// these. Of two values for one name the last counts. Throws Error in QEMU's words.
OptionTree parse_option_list(std::string_view text, std::vector<std::string>& warnings);

// The value at the front of `text`, up to a comma that is not doubled; taken off with that comma.
std::string take_option_value(std::string_view& text);

// Whether a text may be an "id": letters, digits, '-', '.', '_', a letter first.
bool is_well_formed_id(std::string_view text);
// What QEMU says of another one.
inline constexpr const char* kBadId =
    "Parameter 'id' expects an identifier\n"
    "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.";

}  // namespace byre::open
