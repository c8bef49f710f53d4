// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2::layout {

// The contents of an image's first cluster: header, extensions, backing file name. Code that
// changes one of them writes all three again, because each begins where the previous one ends.
struct HeaderCluster {
  Header header;
  Extensions extensions;
  std::string backing_file_name;  // up to a zero byte; empty: none

  bool operator==(const HeaderCluster&) const = default;

  // `first_cluster` as for Header::parse; QEMU's order of checks across all three.
  static HeaderCluster parse(ConstBytes first_cluster, HeaderUse use = {});

  // The offset in the file at which the extensions end, as encode() writes them.
  uint64_t extensions_end() const;

  // Places the backing file name after the extensions, at `name_offset_min` or later, sets its
  // offset and size in `header` (both 0 for an empty name), and returns the bytes from offset 0,
  // exactly one cluster. Throws Error(kNoSpace) if they do not fit.
  std::vector<uint8_t> encode(uint64_t name_offset_min = 0);
};

}  // namespace byre::qcow2::layout
