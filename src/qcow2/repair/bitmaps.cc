// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/bitmaps.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/units.h"
#include "block/buffer.h"
#include "block/read_zero_padded.h"
#include "qcow2/layout/extensions.h"
#include "qcow2/layout/features.h"
#include "qcow2/repair/header_write.h"

namespace byre::qcow2 {
namespace {

constexpr uint64_t kExtensionHeaderSize = 8;
// A type that the specification does not assign, so that readers skip it ("byre").
constexpr uint32_t kUnused = 0x62797265;

}  // namespace

Task<bool> begins_bitmap_directory(BlockDevice& file, layout::BitmapsExtension extension,
                                   std::vector<layout::BitmapEntry> bitmaps) {
  if (bitmaps.empty()) co_return true;
  const std::vector<uint8_t> wanted = layout::encode_bitmap_directory(bitmaps);
  if (wanted.size() > extension.directory_size) co_return false;
  Buffer stored(wanted.size());
  const ReadBuffers to(stored.bytes());
  co_await read_zero_padded(&file, extension.directory_offset.value(), to);
  co_return std::ranges::equal(stored.bytes(), wanted);
}

Task<void> BitmapsSwitch::set_autoclear(uint64_t bits) {
  std::vector<uint8_t> bytes(8);
  store_big_endian<uint64_t>(bytes.data(), bits);
  co_await write_to_header(file_, offsetof(layout::RawHeader, autoclear_features),
                           std::move(bytes));
  header_->autoclear_features = bits;
}

// Without the autoclear bit readers ignore the extension. It is then removed, or, if others follow
// it, gets a type without a meaning.
Task<void> BitmapsSwitch::remove(uint64_t place, bool is_last) {
  co_await set_autoclear(header_->autoclear_features & ~layout::autoclear::kBitmaps);
  std::vector<uint8_t> bytes(is_last ? 8 : 4);
  if (!is_last) store_big_endian<uint32_t>(bytes.data(), kUnused);
  co_await write_to_header(file_, place - kExtensionHeaderSize, std::move(bytes));
}

Task<void> BitmapsSwitch::write(std::optional<layout::BitmapsExtension> extension) {
  Buffer first(header_->cluster_size());
  const ReadBuffers to(first.bytes());
  co_await read_zero_padded(file_, 0, to);
  layout::ExtensionWalker walker(first.bytes(), *header_);
  uint64_t place = 0;
  bool is_last = false;
  while (const std::optional<layout::RawExtension> each = walker.next()) {
    is_last = each->type == layout::extension_type::kBitmaps;
    if (is_last) place = static_cast<uint64_t>(each->data.data() - first.data());
  }
  if (!extension) {
    co_await remove(place, is_last);
    co_return;
  }
  const bool is_in_one_sector =
      place / kSectorSize == (place + layout::BitmapsExtension::kSize - 1) / kSectorSize;
  const uint64_t autoclear = header_->autoclear_features;
  if (!is_in_one_sector) co_await set_autoclear(autoclear & ~layout::autoclear::kBitmaps);
  co_await write_to_header(file_, place, extension->encode());
  if (!is_in_one_sector) co_await set_autoclear(autoclear);
}

}  // namespace byre::qcow2
