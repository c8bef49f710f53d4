// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"

// Any bytes as the start of an image, zeroes behind them: a refusal, or a header that comes back
// as it was, with extensions and a backing file name that come back as far as they are kept.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

void check_header(ConstBytes first_cluster, const Header& header) {
  std::vector<uint8_t> bytes(first_cluster.begin(), first_cluster.end());
  const std::vector<uint8_t> encoded = header.encode();
  BYRE_ASSERT(encoded.size() == header.header_length);
  std::copy(encoded.begin(), encoded.end(), bytes.begin());
  BYRE_ASSERT(Header::parse(bytes, {.for_check = true}) == header);
  const Geometry geometry(header);
  BYRE_ASSERT(geometry.l1_entries_for(header.size) <= header.l1_size);
  BYRE_ASSERT(header.l1_size <= limits::kL1EntriesMax);
}

void check_cluster(HeaderCluster cluster) {
  std::vector<uint8_t> bytes;
  try {
    bytes = cluster.encode();
  } catch (const Error& error) {
    BYRE_ASSERT(error.kind() == ErrorKind::kNoSpace);
    return;
  }
  // Bitmaps that were not consistent are not written again.
  cluster.extensions.stale_bitmaps = false;
  BYRE_ASSERT(HeaderCluster::parse(bytes, {.for_check = true}) == cluster);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    std::vector<uint8_t> bytes(data, data + size);
    bytes.resize(Header::probe_cluster_size(bytes));
    for (const HeaderUse use : {HeaderUse{.writable = true}, HeaderUse{.for_check = true}}) {
      check_header(bytes, Header::parse(bytes, use));
      check_cluster(HeaderCluster::parse(bytes, use));
    }
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty() && !error.hint().empty());
  }
  return 0;
}
