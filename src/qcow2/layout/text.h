// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>

#include "base/bytes.h"

namespace byre::qcow2::layout {

// A string of an image, up to its first zero byte. The specification gives each string a length and
// no terminator; QEMU and the host's calls stop at a zero. So the name that is shown, compared and
// opened is the same.
inline std::string text_of(ConstBytes bytes) {
  return {bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0})};
}

}  // namespace byre::qcow2::layout
