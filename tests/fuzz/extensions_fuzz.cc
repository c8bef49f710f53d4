// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/layout/extensions.h"

// Any bytes as the header extensions of an image with clusters of 4 KiB. The first byte chooses the
// header fields that the extensions depend on; the second is the offset of a backing file name,
// which ends them.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

Header header_from(uint8_t choice, uint8_t name_place) {
  Header header;
  header.version = choice & 1 ? 3 : 2;
  header.header_length = choice & 1 ? limits::kHeaderSizeWritten : limits::kHeaderSizeV2;
  header.cluster_bits = 12;
  header.crypt_method = choice & 2 ? CryptMethod::kLuks : CryptMethod::kNone;
  header.autoclear_features = choice & 4 ? autoclear::kBitmaps : 0;
  header.backing_file_offset = choice & 8 ? header.header_length + name_place : 0;
  return header;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Header header = header_from(data[0], data[1]);
  std::vector<uint8_t> bytes(header.cluster_size());
  const size_t room = bytes.size() - header.header_length;
  std::copy_n(data + 2, std::min(size - 2, room), bytes.begin() + header.header_length);
  readable_feature_names(bytes, header);
  try {
    Extensions extensions = Extensions::parse(bytes, header);
    const std::vector<uint8_t> encoded = extensions.encode();
    // Added padding, or the end marker, may no longer fit.
    if (encoded.size() > room) return 0;
    std::fill(bytes.begin() + header.header_length, bytes.end(), 0);
    std::copy(encoded.begin(), encoded.end(), bytes.begin() + header.header_length);
    header.backing_file_offset = 0;
    extensions.stale_bitmaps = false;
    BYRE_ASSERT(Extensions::parse(bytes, header) == extensions);
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty() && !error.data().code.empty());
  }
  return 0;
}
