// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/bytes.h"

namespace byre::codec {

// Whether the byte values occur about equally often, as in encrypted or compressed data. True does
// not mean that nothing can be saved (random bytes may repeat themselves), false does not mean that
// something can. The cost is that of reading a few KiB. Short ranges never look random.
bool looks_random(ConstBytes bytes);

}  // namespace byre::codec
