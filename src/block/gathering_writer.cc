// SPDX-License-Identifier: Apache-2.0
#include "block/gathering_writer.h"

#include <algorithm>

#include "base/assert.h"

namespace byre {

Task<Bytes> GatheringWriter::make_room(uint64_t offset, uint64_t length) {
  BYRE_ASSERT(length <= kPieceMax);
  if (buffer_.size() == 0) buffer_ = Buffer(kPieceMax);
  if (offset != offset_ + used_ || used_ + length > kPieceMax) {
    co_await finish();
    offset_ = offset;
  }
  const Bytes room = buffer_.bytes(used_, length);
  used_ += length;
  co_return room;
}

Task<Bytes> GatheringWriter::reserve(uint64_t offset, uint64_t length) {
  const Bytes room = co_await make_room(offset, length);
  std::ranges::fill(room, uint8_t{0});
  co_return room;
}

Task<void> GatheringWriter::write(uint64_t offset, ConstBytes bytes) {
  while (!bytes.empty()) {
    const ConstBytes piece = bytes.first(std::min<size_t>(bytes.size(), kPieceMax));
    const Bytes room = co_await make_room(offset, piece.size());
    std::ranges::copy(piece, room.begin());
    bytes = bytes.subspan(piece.size());
    offset += piece.size();
  }
}

Task<void> GatheringWriter::finish() {
  if (used_ == 0) co_return;
  const WriteBuffers all(buffer_.bytes(0, used_));
  co_await device_->write(offset_, all);
  offset_ += used_;
  used_ = 0;
}

}  // namespace byre
