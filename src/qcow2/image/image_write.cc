// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <exception>
#include <utility>

#include "async/ready.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"

namespace byre::qcow2 {

namespace {

Task<void> write_in_order(WriteParts* parts, GuestOffset offset, WriteBuffers from,
                          WriteFlags flags) {
  if (has_flag(flags, WriteFlags::kCompressed)) {
    // Calls Preparation::begin() itself, after it has taken its turn in the order of requests.
    co_await parts->compressed.write(offset, std::move(from));
  } else {
    if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
    co_await parts->writer.write(offset, std::move(from));
  }
  if (has_flag(flags, WriteFlags::kFua)) co_await parts->flusher.flush();
}

Task<void> write_bytes(WriteParts* parts, GuestOffset offset, WriteBuffers from, WriteFlags flags) {
  const bool is_plain =
      !has_flag(flags, WriteFlags::kCompressed) && !has_flag(flags, WriteFlags::kFua);
  if (is_plain && parts->preparation.begin_at_once()) {
    return parts->writer.write(offset, std::move(from));
  }
  return write_in_order(parts, offset, std::move(from), flags);
}

Task<void> write_vm_state_bytes(WriteParts* parts, GuestOffset offset, WriteBuffers from,
                                bool is_durable) {
  if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
  co_await parts->context->events().raise(DebugEvent::kVmstateSave);
  co_await parts->growth.make_l1_entries(offset + from.size());
  co_await parts->writer.write(offset, std::move(from));
  if (is_durable) co_await parts->flusher.flush();
}

Task<void> zero_bytes(WriteParts* parts, GuestOffset offset, uint64_t length, WriteFlags flags) {
  if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
  co_await parts->zeroing.write_zeroes(offset, length, flags);
  if (has_flag(flags, WriteFlags::kFua)) co_await parts->flusher.flush();
}

Task<void> discard_bytes(WriteParts* parts, GuestOffset offset, uint64_t length) {
  if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
  co_await parts->zeroing.discard(offset, length);
}

Task<void> resize_disk(WriteParts* parts, uint64_t new_size, Preallocation preallocation) {
  // Before begin(), which changes the header: a refused resize changes nothing.
  parts->growth.validate(new_size, preallocation);
  if (new_size == parts->context->disk_size()) co_return;
  co_await parts->preparation.begin();
  if (new_size > parts->context->disk_size()) {
    co_await parts->growth.grow(new_size, preallocation);
  } else {
    co_await parts->shrink.run(new_size);
  }
}

Task<void> share_clusters(WriteParts* parts, size_t snapshot, GuestOffset offset, uint64_t length) {
  if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
  co_await parts->sharing.share(snapshot, offset, length);
}

Task<void> unallocate_clusters(WriteParts* parts, GuestOffset offset, uint64_t length) {
  if (!parts->preparation.begin_at_once()) co_await parts->preparation.begin();
  co_await parts->sharing.unallocate(offset, length);
}

// A change of many tables at once; `change` returns its task.
template <typename Change>
Task<void> change_tables(ImageParts* image, Change change) {
  WriteParts& parts = image->write_parts();
  co_await parts.preparation.begin();
  Task<void> task = change(parts);
  co_await std::move(task);
  image->is_preallocated.reset();
}

// Runs a request. If the disk is full but clusters are free, or will be once a flush has made their
// removal durable, the request is run once more: writing the same bytes again is harmless. If the
// request finds the image corrupt, the image is marked so. `make_request` returns the request's
// task.
template <typename MakeRequest>
Task<void> run(ImageParts* image, MakeRequest make_request) {
  image->cache_cleaner.clean_if_due();
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
  if (is_full) may_try_again = co_await image->writing->flusher.make_room();
  if (may_try_again) {
    error = nullptr;
    try {
      Task<void> request = make_request();
      co_await std::move(request);
    } catch (const Error&) {
      error = std::current_exception();
    }
  }
  if (error) co_await image->context.end_failed_request(error);
}

}  // namespace

Task<void> Image::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  if (from.size() == 0) return ready();
  WriteParts* const parts = &parts_->write_parts();
  return run(parts_.get(), [parts, offset, from, flags] {
    return write_bytes(parts, GuestOffset(offset), from, flags);
  });
}

Task<void> Image::write_vm_state(uint64_t offset, WriteBuffers from) {
  return start([&] {
    check_open();
    check_changeable();
    const GuestOffset place = vm_state_offset(offset, from.size());
    if (from.size() == 0) return ready();
    WriteParts* const parts = &parts_->write_parts();
    return run(parts_.get(), [parts, place, from, is_durable = writes_through()] {
      return write_vm_state_bytes(parts, place, from, is_durable);
    });
  });
}

Task<void> Image::create_snapshot(NewSnapshot snapshot) {
  return start([&] {
    check_open();
    check_changeable();
    ImageParts* const parts = parts_.get();
    parts->write_parts().snapshots.check_create(snapshot);
    return run(parts, [parts, snapshot] {
      return change_tables(
          parts, [snapshot](WriteParts& writing) { return writing.snapshots.create(snapshot); });
    });
  });
}

Task<void> Image::apply_snapshot(SnapshotSelector selector) {
  return start([&] {
    check_open();
    check_changeable();
    ImageParts* const parts = parts_.get();
    parts->write_parts().snapshots.check_apply(selector);
    return run(parts, [parts, selector] {
      return change_tables(
          parts, [selector](WriteParts& writing) { return writing.snapshots.apply(selector); });
    });
  });
}

Task<void> Image::delete_snapshot(SnapshotSelector selector) {
  return start([&] {
    check_open();
    check_changeable();
    ImageParts* const parts = parts_.get();
    parts->write_parts().snapshots.check_remove(selector);
    return run(parts, [parts, selector] {
      return change_tables(
          parts, [selector](WriteParts& writing) { return writing.snapshots.remove(selector); });
    });
  });
}

void Image::expect_snapshots(uint64_t count) {
  parts_->write_parts().allocator.leave_references_for(count + 1);
}

Task<void> Image::share_with_snapshot(size_t index, uint64_t offset, uint64_t length) {
  return start([&] {
    check_open();
    check_changeable();
    if (length == 0) return ready();
    WriteParts* const parts = &parts_->write_parts();
    return run(parts_.get(), [parts, index, offset, length] {
      return share_clusters(parts, index, GuestOffset(offset), length);
    });
  });
}

Task<void> Image::unallocate(uint64_t offset, uint64_t length) {
  return start([&] {
    check_open();
    check_changeable();
    if (length == 0) return ready();
    WriteParts* const parts = &parts_->write_parts();
    return run(parts_.get(), [parts, offset, length] {
      return unallocate_clusters(parts, GuestOffset(offset), length);
    });
  });
}

Task<void> Image::make_empty() {
  return start([&] {
    check_open();
    check_changeable();
    ImageParts* const parts = parts_.get();
    parts->write_parts();
    return run(parts, [parts] {
      return change_tables(parts, [](WriteParts& writing) { return writing.emptying.run(); });
    });
  });
}

Task<uint64_t> Image::size_freed_by_deleting(SnapshotSelector selector) {
  check_open();
  Snapshots* const snapshots = &parts_->write_parts().snapshots;
  snapshots->check_remove(selector);
  const uint64_t size = co_await snapshots->size_freed_by_removing(std::move(selector));
  co_return size;
}

Task<void> Image::do_write_zeroes(uint64_t offset, uint64_t length, WriteFlags flags) {
  if (length == 0) return ready();
  WriteParts* const parts = &parts_->write_parts();
  return run(parts_.get(), [parts, offset, length, flags] {
    return zero_bytes(parts, GuestOffset(offset), length, flags);
  });
}

Task<void> Image::do_discard(uint64_t offset, uint64_t length) {
  if (length == 0) return ready();
  WriteParts* const parts = &parts_->write_parts();
  return run(parts_.get(),
             [parts, offset, length] { return discard_bytes(parts, GuestOffset(offset), length); });
}

Task<void> Image::do_flush() {
  Context& context = parts_->context;
  if (!context.health.is_writable()) return ready();
  if (WriteParts* const parts = parts_->writing.get()) {
    return run(parts_.get(), [parts] { return parts->flusher.flush(); });
  }
  // Nothing was written here, but an earlier writer may have been killed: after this flush
  // everything that can be read is durable.
  return context.flush_devices();
}

Task<void> Image::do_resize(uint64_t new_size, Preallocation preallocation) {
  WriteParts* const parts = &parts_->write_parts();
  return run(parts_.get(), [parts, new_size, preallocation] {
    return resize_disk(parts, new_size, preallocation);
  });
}

Task<void> Image::finish_writing() {
  std::exception_ptr error;
  try {
    if (parts_->writing) co_await parts_->writing->finish();
  } catch (...) {
    error = std::current_exception();
  }
  co_await parts_->context.header_store.mark_if_corrupt();
#ifndef NDEBUG
  parts_->check();
#endif
  if (error) std::rethrow_exception(error);
}

}  // namespace byre::qcow2
