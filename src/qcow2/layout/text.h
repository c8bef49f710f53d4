// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "base/bytes.h"

namespace byre::qcow2::layout {

// A string of an image, up to its first zero byte. The specification gives each string a length and
// no end; QEMU and the host's calls read no further than a zero. What is shown, what is compared
// and what is opened are so the same name.
inline std::string text_of(ConstBytes bytes) {
  return {bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0})};
}

}  // namespace byre::qcow2::layout
