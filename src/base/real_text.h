// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace byre {

// The number at the front of `text`, with a decimal point whatever the program's locale has; too
// large: infinity; too small: zero or near it; none: 0. (std::from_chars of a double brings libm
// into a static program.)
double parse_real(const std::string& text);

}  // namespace byre
