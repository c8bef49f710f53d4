// SPDX-License-Identifier: Apache-2.0
#include "base/real_text.h"

#include <clocale>
#include <cstdlib>

namespace byre {

double parse_real(const std::string& text) {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  return strtod_l(text.c_str(), nullptr, plain);
}

}  // namespace byre
