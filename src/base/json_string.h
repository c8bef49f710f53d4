// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace byre {

// `text` in double quotes with QEMU's escapes: everything but ASCII as \uXXXX.
std::string json_string(std::string_view text);

}  // namespace byre
