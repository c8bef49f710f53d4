// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace byre {

// The number at the start of `text`, with a decimal point whatever the program's locale. Returns
// infinity if it is too large, zero or a value near it if it is too small, 0 if there is none.
// (std::from_chars of a double would pull libm into a static program.)
double parse_real(const std::string& text);

}  // namespace byre
