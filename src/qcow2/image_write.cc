// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <exception>

#include "qcow2/header_update.h"
#include "qcow2/image_state.h"

namespace byre::qcow2 {

namespace {

WriteState& write_state_of(Image::State& state) {
  if (!state.write_state) state.write_state = std::make_unique<WriteState>(&state);
  return *state.write_state;
}

Task<void> write_bytes(WriteState* parts, GuestOffset offset, IoVector from, WriteFlags flags) {
  if (has_flag(flags, WriteFlags::kCompressed)) {
    // Begins by itself, once the request has its place in the line.
    co_await parts->compressed.write(offset, std::move(from));
  } else {
    if (!parts->begin_at_once()) co_await parts->begin();
    co_await parts->writer.write(offset, std::move(from));
  }
  if (has_flag(flags, WriteFlags::kFua)) co_await parts->flusher.flush();
}

Task<void> write_vm_state_bytes(WriteState* parts, GuestOffset offset, IoVector from) {
  if (!parts->begin_at_once()) co_await parts->begin();
  co_await parts->state->events.raise(DebugEvent::kVmstateSave);
  co_await parts->growth.make_l1_entries(offset + from.size());
  co_await parts->writer.write(offset, std::move(from));
}

Task<void> zero_bytes(WriteState* parts, GuestOffset offset, uint64_t length, WriteFlags flags) {
  if (!parts->begin_at_once()) co_await parts->begin();
  co_await parts->zeroing.write_zeroes(offset, length, flags);
  if (has_flag(flags, WriteFlags::kFua)) co_await parts->flusher.flush();
}

Task<void> discard_bytes(WriteState* parts, GuestOffset offset, uint64_t length) {
  if (!parts->begin_at_once()) co_await parts->begin();
  co_await parts->zeroing.discard(offset, length);
}

Task<void> resize_disk(WriteState* parts, uint64_t new_size, Preallocation preallocation) {
  // Before begin(), which changes what a refused resize leaves alone.
  parts->growth.validate(new_size, preallocation);
  if (new_size == parts->state->size) co_return;
  co_await parts->begin();
  if (new_size > parts->state->size) {
    co_await parts->growth.grow(new_size, preallocation);
  } else {
    co_await parts->shrink.run(new_size);
  }
}

// Makes a request. Where the disk is full but clusters are free, or will be once a flush has made
// their removal durable, it is made once more: writing the same bytes again changes nothing. An
// image that the request finds corrupt is marked so. `make_request` gives the request's task.
template <typename MakeRequest>
Task<void> run(WriteState* parts, MakeRequest make_request) {
  std::exception_ptr error;
  bool is_full = false;
  try {
    Task<void> request = make_request();
    co_await std::move(request);
  } catch (const Error& failure) {
    error = std::current_exception();
    is_full = failure.kind() == ErrorKind::kNoSpace;
  }
  if (!error) co_return;
  bool may_try_again = false;
  if (is_full) may_try_again = co_await parts->find_room();
  if (may_try_again) {
    error = nullptr;
    try {
      Task<void> request = make_request();
      co_await std::move(request);
    } catch (const Error&) {
      error = std::current_exception();
    }
  }
  if (error) co_await parts->state->end_failed_request(error);
}

Task<void> nothing() {
  co_return;
}

}  // namespace

Task<void> Image::write(uint64_t offset, IoVector from, WriteFlags flags) {
  check_writable(offset, from.size());
  if (from.size() == 0) return nothing();
  const RequestPolicy& policy = state_->options.policy;
  if (policy.becomes_zeroes(from)) {
    return write_zeroes(offset, from.size(), policy.detected_flags(flags));
  }
  WriteState* const parts = &write_state_of(*state_);
  return run(parts, [parts, offset, from, flags] {
    return write_bytes(parts, GuestOffset(offset), from, flags);
  });
}

Task<void> Image::write_vm_state(uint64_t offset, IoVector from) {
  check_writable(0, 0);
  const GuestOffset place = state_->vm_state_offset(offset, from.size());
  if (from.size() == 0) return nothing();
  WriteState* const parts = &write_state_of(*state_);
  return run(parts, [parts, place, from] { return write_vm_state_bytes(parts, place, from); });
}

Task<void> Image::write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  check_writable(offset, length);
  if (length == 0) return nothing();
  WriteState* const parts = &write_state_of(*state_);
  const WriteFlags allowed = state_->options.policy.zeroes_flags(flags);
  return run(parts, [parts, offset, length, allowed] {
    return zero_bytes(parts, GuestOffset(offset), length, allowed);
  });
}

Task<void> Image::discard(uint64_t offset, uint64_t length) {
  check_writable(offset, length);
  if (length == 0 || state_->options.policy.ignores_discards()) return nothing();
  WriteState* const parts = &write_state_of(*state_);
  return run(parts,
             [parts, offset, length] { return discard_bytes(parts, GuestOffset(offset), length); });
}

Task<void> Image::flush() {
  if (!state_->is_writable()) return nothing();
  if (WriteState* const parts = state_->write_state.get()) {
    return run(parts, [parts] { return parts->flusher.flush(); });
  }
  // Nothing was written here, but whoever wrote before may have been killed: what can be read is
  // durable afterwards.
  return state_->flush_devices();
}

Task<void> Image::resize(uint64_t new_size, Preallocation preallocation) {
  check_writable(0, 0);
  WriteState* const parts = &write_state_of(*state_);
  return run(parts, [parts, new_size, preallocation] {
    return resize_disk(parts, new_size, preallocation);
  });
}

Task<void> Image::State::finish_writing() {
  std::exception_ptr error;
  try {
    if (write_state) co_await write_state->finish();
  } catch (...) {
    error = std::current_exception();
  }
  co_await mark_corrupt();
  if (error) std::rethrow_exception(error);
}

Task<void> Image::State::mark_corrupt() {
  const bool can_mark = is_known_corrupt && is_writable() && header().version >= 3;
  if (!can_mark || header().is_corrupt()) co_return;
  write_state_of(*this);
  HeaderUpdate update(this);
  const HeaderUpdate::FeatureChange corrupt{.incompatible_set = layout::incompatible::kCorrupt};
  co_await update.change_features(corrupt);
}

Task<void> Image::State::flush_devices() {
  if (failure) throw Error(*failure);
  std::exception_ptr error;
  try {
    if (data_file) co_await data_file->flush();
    co_await file->flush();
  } catch (const Error& failed) {
    // The next one could succeed and yet leave out what this one was for.
    write_state_of(*this).note_failure(failed, true);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
  // Another one failed meanwhile, and the host may have forgotten what this one was for.
  if (failure) throw Error(*failure);
}

Task<void> Image::State::end_failed_request(std::exception_ptr error) {
  try {
    co_await mark_corrupt();
  } catch (const Error&) {
    // The request's own failure says more.
  }
  std::rethrow_exception(error);
}

}  // namespace byre::qcow2
