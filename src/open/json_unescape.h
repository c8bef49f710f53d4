// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace byre::open {

// What a JSON string with its quotes stands for, as UTF-8. U+0000 becomes two bytes that are not
// zero, as QEMU has it, so that no name ends early. Throws Error in QEMU's words.
std::string json_string_value(std::string_view quoted);

}  // namespace byre::open
