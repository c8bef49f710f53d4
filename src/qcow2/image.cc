// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "qcow2/image_state.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {

Image::State::State(std::unique_ptr<BlockDevice> file_, OpenOptions options_,
                    layout::HeaderCluster first_cluster_)
    : file(std::move(file_)),
      events(file->debug_listener()),
      data_events(events),
      options(std::move(options_)),
      first_cluster(std::move(first_cluster_)),
      geometry(first_cluster.header) {}

Image::State::~State() = default;

void Image::State::check_may_write() const {
  if (failure) throw Error(*failure);
  if (!is_writable()) {
    throw Error(ErrorKind::kPermission, EACCES,
                fmt::format("Image '{}' is open read-only", file->filename()));
  }
}

Error Image::State::corruption(const std::string& finding) {
  const Error error(ErrorKind::kCorrupt, EIO, errno_text(EIO),
                    fmt::format("'{}' is corrupt: {}", file->filename(), finding));
  if (!is_known_corrupt && is_writable()) {
    has_told_of_corruption = true;
    if (options.on_warning) {
      options.on_warning(fmt::format(
          "qcow2: Marking image as corrupt: {}; further corruption events will be suppressed\n",
          finding));
    }
  } else if (!is_writable()) {
    warn_of_corruption(finding);
  }
  is_known_corrupt = true;
  return error;
}

void Image::State::warn_of_corruption(const std::string& finding) {
  if (std::exchange(has_told_of_corruption, true) || !options.on_warning) return;
  options.on_warning(fmt::format(
      "qcow2: Image is corrupt: {}; further non-fatal corruption events will be suppressed\n",
      finding));
}

void Image::State::check_medium() const {
  if (!is_known_corrupt || !is_writable()) return;
  throw Error(ErrorKind::kCorrupt, ENOMEDIUM, errno_text(ENOMEDIUM),
              fmt::format("'{}' takes no requests since it was found corrupt", file->filename()));
}

Error Image::State::unreadable(const std::string& reason) const {
  return Error(ErrorKind::kCorrupt, EIO, errno_text(EIO),
               fmt::format("'{}': {}", file->filename(), reason));
}

void Image::State::update_limits() {
  const Limits& below = data_device().limits();
  limits.request_alignment = below.request_alignment;
  limits.memory_alignment = below.memory_alignment;
  limits.transfer_max = below.transfer_max;
  limits.preferred_transfer = static_cast<uint32_t>(geometry.subcluster_size());
  limits.can_write_zeroes_unmapped = geometry.version() >= 3;
  limits.is_zero_initialised = !has_data_file() || (data_file && below.is_zero_initialised);
  limits.compressed_write_size =
      has_data_file() ? 0 : static_cast<uint32_t>(geometry.cluster_size());
}

layout::GuestOffset Image::State::vm_state_start() const {
  return layout::GuestOffset(geometry.l1_entries_for(size) * geometry.l2_coverage());
}

layout::GuestOffset Image::State::vm_state_offset(uint64_t offset, uint64_t length) const {
  const uint64_t start = vm_state_start().value();
  const uint64_t entries_max = layout::limits::kL1EntriesMax;
  // An L2 table of 2 MiB maps 512 GiB, and there are 4 Mi of them at most: no overflow.
  const uint64_t end_max = entries_max * geometry.l2_coverage();
  if (offset > end_max - start || length > end_max - start - offset) {
    throw Error(ErrorKind::kNoSpace, EFBIG, errno_text(EFBIG),
                fmt::format("'{}': the VM state area has at most {} bytes", file->filename(),
                            end_max - start));
  }
  return layout::GuestOffset(start + offset);
}

Image::Image(std::unique_ptr<State> state) : state_(std::move(state)) {}

Image::~Image() = default;

const std::string& Image::filename() const {
  return state_->options.filename.empty() ? state_->file->filename() : state_->options.filename;
}

uint64_t Image::size() const {
  return state_->size;
}

const Limits& Image::limits() const {
  return state_->limits;
}

bool Image::is_read_only() const {
  return !state_->is_writable();
}

std::optional<uint64_t> Image::allocated_size() const {
  std::optional<uint64_t> total = state_->file->allocated_size();
  if (total && state_->data_file) {
    const std::optional<uint64_t> data = state_->data_file->allocated_size();
    if (data) *total += *data;
  }
  return total;
}

void Image::State::clean_caches() {
  if (clean_interval.count() == 0) return;
  // The clock costs as much as a lookup.
  if (++requests % kRequestsPerClockLook != 0) return;
  const Loop::Clock::time_point now = Loop::current().now();
  if (clean_time && now < *clean_time) return;
  if (clean_time) {
    l2_cache->drop_unused();
    refcount_cache->drop_unused();
  }
  clean_time = now + clean_interval;
}

Task<void> Image::State::read_guest(GuestOffset offset, IoVector to) {
  clean_caches();
  if (!is_writable()) {
    co_await reader->read(offset, std::move(to));
    co_return;
  }
  check_medium();
  const RangeLock::Guard guard =
      co_await guest_lock.acquire(offset.value(), to.size(), RangeLock::Mode::kShared);
  std::exception_ptr error;
  try {
    co_await reader->read(offset, std::move(to));
  } catch (const Error&) {
    error = std::current_exception();
  }
  if (error) co_await end_failed_request(error);
}

Task<void> Image::read(uint64_t offset, IoVector to) {
  check_range(offset, to.size());
  return state_->read_guest(GuestOffset(offset), std::move(to));
}

uint64_t Image::vm_state_start() const {
  return state_->vm_state_start().value();
}

Task<void> Image::read_vm_state(uint64_t offset, IoVector to) {
  const GuestOffset place = state_->vm_state_offset(offset, to.size());
  co_await state_->events.raise(DebugEvent::kVmstateLoad);
  co_await state_->read_guest(place, std::move(to));
}

namespace {

// In QEMU's words, which say what was lost: L2 tables and refcount blocks.
Error told_at_close(const Image::State& state, const Error& error) {
  const auto not_flushed = [&error](const char* what) {
    return fmt::format("Failed to flush the {} cache: {}", what, errno_text(error.errno_value()));
  };
  const auto told_as = [&error](std::string message) {
    return Error(error.kind(), error.errno_value(), std::move(message), error.message());
  };
  const bool lacks_refcounts = state.refcount_cache->has_dirty();
  if (state.l2_cache->has_dirty()) {
    const Error tables = told_as(not_flushed("L2 table"));
    return lacks_refcounts ? tables.with_more(not_flushed("refcount block")) : tables;
  }
  return lacks_refcounts ? told_as(not_flushed("refcount block")) : error;
}

}  // namespace

Task<void> Image::close() {
  if (!begin_close()) co_return;
  {
    // Requests that are under way end first.
    const RangeLock::Guard guard =
        co_await state_->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  }
  // Whatever fails, everything is closed; the first failure is told.
  std::exception_ptr first_error;
  try {
    co_await state_->finish_writing();
  } catch (const Error& error) {
    first_error = std::make_exception_ptr(told_at_close(*state_, error));
  } catch (...) {
    first_error = std::current_exception();
  }
  for (BlockDevice* device : {state_->data_file.get(), state_->file.get(), state_->backing.get()}) {
    if (device == nullptr) continue;
    try {
      co_await device->close();
    } catch (...) {
      if (!first_error) first_error = std::current_exception();
    }
  }
  if (first_error) std::rethrow_exception(first_error);
}

const layout::Header& Image::header() const {
  return state_->header();
}

const layout::Extensions& Image::extensions() const {
  return state_->extensions();
}

const layout::Geometry& Image::geometry() const {
  return state_->geometry;
}

const std::vector<layout::Snapshot>& Image::snapshots() const {
  return state_->snapshots;
}

const std::vector<layout::BitmapEntry>& Image::bitmaps() const {
  return state_->bitmaps;
}

const std::string& Image::backing_filename() const {
  return state_->first_cluster.backing_file_name;
}

const std::string& Image::backing_format() const {
  static const std::string none;
  return state_->extensions().backing_format ? *state_->extensions().backing_format : none;
}

const std::string& Image::data_filename() const {
  static const std::string none;
  return state_->extensions().data_file_name ? *state_->extensions().data_file_name : none;
}

bool Image::has_external_data_file() const {
  return state_->has_data_file();
}

void Image::set_backing(std::unique_ptr<BlockDevice> backing) {
  state_->backing = std::move(backing);
}

void Image::set_data_file(std::unique_ptr<BlockDevice> data_file) {
  state_->data_file = std::move(data_file);
  state_->data_events = DebugEvents(state_->data_file->debug_listener());
  state_->l2_cache->set_data_device(state_->data_file.get());
  state_->update_limits();
}

std::vector<ChildDevice> Image::children() const {
  std::vector<ChildDevice> children{{"file", state_->file.get()}};
  if (state_->data_file) children.push_back({"data-file", state_->data_file.get()});
  if (state_->backing) children.push_back({"backing", state_->backing.get()});
  return children;
}

BlockDevice* Image::backing() const {
  return state_->backing.get();
}

BlockDevice* Image::data_file() const {
  return state_->data_file.get();
}

BlockDevice& Image::file() const {
  return *state_->file;
}

}  // namespace byre::qcow2
