// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/layout/bitmap.h"

// Any bytes as a bitmaps extension and, after its 24 bytes, the bitmap directory: they are refused,
// or give bitmaps that encode to the same. The first byte chooses the cluster size, the second the
// logarithm of the disk's size.
namespace {

using namespace byre;
using namespace byre::qcow2::layout;

void check(ConstBytes extension_bytes, ConstBytes directory, const Geometry& geometry,
           uint64_t disk_size) {
  BitmapsExtension extension = BitmapsExtension::parse(extension_bytes, geometry.cluster_size());
  BYRE_ASSERT(BitmapsExtension::parse(extension.encode(), geometry.cluster_size()) == extension);
  extension.directory_size = directory.size();
  const std::vector<BitmapEntry> bitmaps =
      parse_bitmap_directory(directory, extension, geometry, disk_size);
  BYRE_ASSERT(bitmaps.size() == extension.bitmap_count);
  const std::vector<uint8_t> encoded = encode_bitmap_directory(bitmaps);
  BYRE_ASSERT(encoded.size() == directory.size());
  BYRE_ASSERT(parse_bitmap_directory(encoded, extension, geometry, disk_size) == bitmaps);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2 + BitmapsExtension::kSize) return 0;
  Header header;
  header.cluster_bits = 9 + data[0] % 13;
  const uint64_t disk_size = uint64_t{1} << data[1] % 64;
  const ConstBytes bytes(data + 2, size - 2);
  try {
    check(bytes.first(BitmapsExtension::kSize), bytes.subspan(BitmapsExtension::kSize),
          Geometry(header), disk_size);
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty() && !error.data().code.empty());
  }
  return 0;
}
