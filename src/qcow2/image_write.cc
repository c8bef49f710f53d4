// SPDX-License-Identifier: Apache-2.0
#include <cerrno>

#include "qcow2/header_update.h"
#include "qcow2/image_state.h"

namespace byre::qcow2 {

namespace {

WriteState& write_state_of(Image::State& state) {
  if (!state.write_state) state.write_state = std::make_unique<WriteState>(&state);
  return *state.write_state;
}

}  // namespace

Task<void> Image::write(uint64_t offset, IoVector from, WriteFlags flags) {
  check_writable(offset, from.size());
  if (from.size() == 0) co_return;
  WriteState& parts = write_state_of(*state_);
  co_await parts.begin();
  co_await parts.relieve();
  if (has_flag(flags, WriteFlags::kCompressed)) {
    co_await parts.compressed.write(GuestOffset(offset), from);
  } else {
    co_await parts.writer.write(GuestOffset(offset), from);
  }
  if (has_flag(flags, WriteFlags::kFua)) co_await parts.flusher.flush();
}

Task<void> Image::write_vm_state(uint64_t offset, IoVector from) {
  check_writable(0, 0);
  const layout::GuestOffset place = state_->vm_state_offset(offset, from.size());
  if (from.size() == 0) co_return;
  WriteState& parts = write_state_of(*state_);
  co_await parts.begin();
  co_await parts.relieve();
  co_await parts.growth.make_l1_entries(place + from.size());
  co_await parts.writer.write(place, std::move(from));
}

Task<void> Image::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  check_writable(offset, length);
  if (length == 0) co_return;
  WriteState& parts = write_state_of(*state_);
  co_await parts.begin();
  co_await parts.relieve();
  co_await parts.zeroing.write_zeroes(GuestOffset(offset), length, flags);
  if (has_flag(flags, WriteFlags::kFua)) co_await parts.flusher.flush();
}

Task<void> Image::discard(uint64_t offset, uint64_t length) {
  check_writable(offset, length);
  if (length == 0) co_return;
  WriteState& parts = write_state_of(*state_);
  co_await parts.begin();
  co_await parts.relieve();
  co_await parts.zeroing.discard(GuestOffset(offset), length);
}

Task<void> Image::flush() {
  if (!state_->is_writable()) co_return;
  if (state_->write_state) {
    co_await state_->write_state->flusher.flush();
    co_return;
  }
  // Nothing was written here, but whoever wrote before may have been killed: what can be read is
  // durable afterwards.
  if (state_->data_file) co_await state_->data_file->flush();
  co_await state_->file->flush();
}

Task<void> Image::resize(uint64_t new_size, Preallocation preallocation) {
  check_writable(0, 0);
  WriteState& parts = write_state_of(*state_);
  co_await parts.begin();
  co_await parts.growth.resize(new_size, preallocation);
}

Task<void> Image::State::finish_writing() {
  if (write_state) co_await write_state->finish();
  const bool can_mark = is_known_corrupt && is_writable() && header().version >= 3;
  if (!can_mark || header().is_corrupt()) co_return;
  write_state_of(*this);
  HeaderUpdate update(this);
  co_await update.set_features(header().incompatible_features | layout::incompatible::kCorrupt,
                               header().autoclear_features);
}

}  // namespace byre::qcow2
