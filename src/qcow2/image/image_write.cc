// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <exception>
#include <utility>

#include "async/ready.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/image/run_request.h"

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

// Does not prepare the image for writing: the guest's disk does not change, so bitmaps stay valid.
Task<void> change_backing_names(ImageParts* image, std::string name, std::string format) {
  Context& context = image->context;
  context.health.check_not_corrupt();
  context.health.check_repaired();
  const RangeLock::Guard guard =
      co_await context.guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  if (image->writing) {
    co_await image->writing->flusher.flush();
  } else {
    co_await context.flush_devices();
  }
  if (context.header().version >= 3) {
    constexpr uint64_t kKept = layout::autoclear::kRawExternalData | layout::autoclear::kBitmaps;
    const HeaderStore::FeatureChange unknown{.autoclear_cleared = ~kKept};
    co_await context.header_store.change_features(unknown);
  }
  co_await context.header_store.set_backing_file(std::move(name), std::move(format));
}

}  // namespace

Task<void> Image::do_write(uint64_t offset, WriteBuffers from, WriteFlags flags) {
  if (from.size() == 0) return ready();
  WriteParts* const parts = &parts_->write_parts();
  return run_request(parts_.get(), [parts, offset, from, flags] {
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
    return run_request(parts_.get(), [parts, place, from, is_durable = writes_through()] {
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
    return run_request(parts, [parts, snapshot] {
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
    return run_request(parts, [parts, selector] {
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
    return run_request(parts, [parts, selector] {
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
    return run_request(parts_.get(), [parts, index, offset, length] {
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
    return run_request(parts_.get(), [parts, offset, length] {
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
    return run_request(parts, [parts] {
      return change_tables(parts, [](WriteParts& writing) { return writing.emptying.run(); });
    });
  });
}

void Image::check_backing_file(const std::string& name, const std::string& format) const {
  parts_->context.header_store.check_backing_file(name, format);
}

Task<void> Image::change_backing_file(std::string name, std::string format) {
  return start([&] {
    check_open();
    check_changeable();
    return change_backing_names(parts_.get(), std::move(name), std::move(format));
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
  return run_request(parts_.get(), [parts, offset, length, flags] {
    return zero_bytes(parts, GuestOffset(offset), length, flags);
  });
}

Task<void> Image::do_discard(uint64_t offset, uint64_t length) {
  if (length == 0) return ready();
  WriteParts* const parts = &parts_->write_parts();
  return run_request(parts_.get(), [parts, offset, length] {
    return discard_bytes(parts, GuestOffset(offset), length);
  });
}

Task<void> Image::do_flush() {
  Context& context = parts_->context;
  if (!context.health.is_writable()) return ready();
  if (WriteParts* const parts = parts_->writing.get()) {
    return run_request(parts_.get(), [parts] { return parts->flusher.flush(); });
  }
  // Nothing was written here, but an earlier writer may have been killed: after this flush
  // everything that can be read is durable.
  return context.flush_devices();
}

// The data alone: tables are mostly in memory.
Task<void> Image::do_start_flush() {
  return parts_->context.data_device().start_flush();
}

Task<void> Image::do_resize(uint64_t new_size, Preallocation preallocation) {
  WriteParts* const parts = &parts_->write_parts();
  return run_request(parts_.get(), [parts, new_size, preallocation] {
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
