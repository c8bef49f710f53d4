// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace byre::open {

// Whether QEMU has a driver of that name. A backing file's format is only stored in the image, so it
// may be any of them.
bool is_driver_of_qemu(std::string_view name);

}  // namespace byre::open
