// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace byre::open {

// How many bytes from the start of a file the probe wants; zeroes where the file is shorter.
inline constexpr size_t kProbeSize = 512;

// QEMU's name of the format that the first bytes of a file show: "qcow2"; the name of a format that
// byre does not know ("vmdk", "vdi", ...), so that it is refused and not taken for raw; else "raw".
// A disk image of macOS has its header at its end: it is known by the end of its name, as in QEMU.
std::string probe_format(ConstBytes first_bytes, std::string_view filename = {});

}  // namespace byre::open
