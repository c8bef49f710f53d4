// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header_cluster.h"

// Any bytes as the start of an image, followed by zeroes: they are refused, or give a header that
// encodes to the same, and extensions and a backing file name that do so as far as they are kept.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

// Larger clusters only have more zeroes after the same bytes.
constexpr size_t kEncodedSizeMax = 16384;

void check_header(ConstBytes first_cluster, const Header& header) {
  const std::vector<uint8_t> encoded = header.encode();
  BYRE_ASSERT(encoded.size() == header.header_length);
  BYRE_ASSERT(std::equal(encoded.begin(), encoded.end(), first_cluster.begin()));
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
  // Inconsistent bitmaps are not written back.
  cluster.extensions.stale_bitmaps = false;
  BYRE_ASSERT(HeaderCluster::parse(bytes, {.for_check = true}) == cluster);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Always zeroes between runs: clearing the largest cluster each time would take most of the time.
  static std::vector<uint8_t> file(limits::kClusterSizeMax);
  size = std::min<size_t>(size, file.size());
  std::copy_n(data, size, file.begin());
  try {
    const ConstBytes first_cluster =
        ConstBytes(file).first(Header::probe_cluster_size(ConstBytes(data, size)));
    for (const HeaderUse use : {HeaderUse{.writable = true}, HeaderUse{.for_check = true}}) {
      check_header(first_cluster, Header::parse(first_cluster, use));
      const HeaderCluster cluster = HeaderCluster::parse(first_cluster, use);
      if (first_cluster.size() <= kEncodedSizeMax) check_cluster(cluster);
    }
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty() && !error.data().code.empty());
  }
  std::fill_n(file.begin(), size, 0);
  return 0;
}
