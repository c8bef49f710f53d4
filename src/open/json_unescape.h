// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace byre::open {

// Decodes a quoted JSON string to UTF-8. U+0000 becomes two nonzero bytes, as in QEMU, so that no
// name ends early. Throws Error with QEMU's message.
std::string json_string_value(std::string_view quoted);

}  // namespace byre::open
