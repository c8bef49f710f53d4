// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/header.h"

namespace byre::qcow2::layout {

// All that stands in the first cluster of an image: header, extensions, backing file name. Whoever
// changes one of them writes all three again, because each stands where the one before it ends.
struct HeaderCluster {
  Header header;
  Extensions extensions;
  std::string backing_file_name;  // up to a zero byte; empty: none

  bool operator==(const HeaderCluster&) const = default;

  // `first_cluster` as for Header::parse; QEMU's order of checks over all three.
  static HeaderCluster parse(ConstBytes first_cluster, HeaderUse use = {});

  // Places the backing file name behind the extensions, sets its offset and size in `header` (an
  // empty name makes both 0), and gives the bytes from offset 0, exactly one cluster. Throws
  // Error(kNoSpace) where they do not fit.
  std::vector<uint8_t> encode();
};

}  // namespace byre::qcow2::layout
