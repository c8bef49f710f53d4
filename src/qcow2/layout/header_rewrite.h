// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "qcow2/layout/header_cluster.h"

namespace byre::qcow2::layout {

// How the first cluster of an image in use gets other extensions or another backing file name, so
// that a power cut leaves either the old ones or the new ones.
//
// A disk writes a sector as a whole or not at all, and the first sector says where the rest is. So
// each step first writes, past the first sector, only bytes that no reader looks at by the old
// first sector; then, when they are durable, the first sector. Where the new extensions or the new
// name would overwrite old ones that are still looked at, there are steps in between, which change
// nothing that counts: the old name is moved further back, and the names of feature bits, which
// only messages use, are left out for the moment.
struct HeaderRewrite {
  // What the first cluster contains after each step, one cluster each.
  std::vector<std::vector<uint8_t>> steps;
  // As after the last step, but what no reader looks at is cleared: the old name, for example.
  std::vector<uint8_t> cleared;
  // False if there is no such way, because other extensions reach past the first sector and would
  // have to move, or because the cluster has too little room. There is one step then, which a power
  // cut can divide.
  bool is_atomic = true;

  // `first_cluster` as for Header::parse: what the file has. Throws as HeaderCluster::encode() does
  // if `target` does not fit, even without the names of feature bits.
  static HeaderRewrite plan(ConstBytes first_cluster, HeaderCluster target);
};

}  // namespace byre::qcow2::layout
