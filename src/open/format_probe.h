// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"

namespace byre::open {

// The number of bytes from the start of a file that the probe needs; zeroes past the end of the
// file.
inline constexpr size_t kProbeSize = 512;

// QEMU's name of the format that the first bytes of a file indicate: "qcow2"; the name of a format
// that byre does not support ("vmdk", "vdi", ...), so that it is refused and not treated as raw;
// else "raw". A macOS disk image has its header at its end: it is recognised by the suffix of its
// name, as in QEMU.
std::string probe_format(ConstBytes first_bytes, std::string_view filename = {});

}  // namespace byre::open
