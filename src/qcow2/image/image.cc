// SPDX-License-Identifier: Apache-2.0
#include "qcow2/image/image.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

#include "qcow2/image/image_parts.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2 {

Image::Image(std::unique_ptr<ImageParts> parts) : parts_(std::move(parts)) {
  update_limits();
  set_policy(parts_->context.options.policy);
}

Image::~Image() = default;

const std::string& Image::filename() const {
  const std::string& given = parts_->context.options.filename;
  return given.empty() ? file().filename() : given;
}

uint64_t Image::size() const {
  return parts_->context.disk_size();
}

const Limits& Image::limits() const {
  return limits_;
}

bool Image::is_read_only() const {
  return !parts_->context.health.is_writable();
}

std::optional<uint64_t> Image::allocated_size() const {
  std::optional<uint64_t> total = file().allocated_size();
  if (total && data_file() != nullptr) {
    const std::optional<uint64_t> data = data_file()->allocated_size();
    if (data) *total += *data;
  }
  return total;
}

void Image::update_limits() {
  const Context& context = parts_->context;
  const Limits& below = context.data_device().limits();
  const bool has_data_file = has_external_data_file();
  const layout::Geometry& geometry = context.geometry;
  limits_.request_alignment = below.request_alignment;
  limits_.memory_alignment = below.memory_alignment;
  limits_.preferred_transfer = static_cast<uint32_t>(geometry.subcluster_size());
  limits_.can_write_zeroes_unmapped = geometry.version() >= 3;
  limits_.is_zero_initialised = !has_data_file || (data_file() && below.is_zero_initialised);
  limits_.compressed_write_size =
      has_data_file ? 0 : static_cast<uint32_t>(geometry.cluster_size());
}

Task<void> Image::read_guest(GuestOffset offset, ReadBuffers to) {
  const bool is_cleaning = parts_->cache_cleaner.count_request();
  return is_cleaning ? clean_and_read(offset, std::move(to)) : read_now(offset, std::move(to));
}

Task<void> Image::clean_and_read(GuestOffset offset, ReadBuffers to) {
  parts_->cache_cleaner.clean_at(Loop::current().now());
  co_await read_now(offset, std::move(to));
}

Task<void> Image::read_now(GuestOffset offset, ReadBuffers to) {
  if (parts_->context.health.is_writable()) return read_beside_writes(offset, std::move(to));
  return parts_->reader.read(offset, std::move(to));
}

Task<void> Image::read_beside_writes(GuestOffset offset, ReadBuffers to) {
  Context& context = parts_->context;
  context.health.check_not_corrupt();
  const RangeLock::Guard guard =
      co_await context.guest_lock.acquire(offset.value(), to.size(), RangeLock::Mode::kShared);
  std::exception_ptr error;
  try {
    co_await parts_->reader.read(offset, std::move(to));
  } catch (const Error&) {
    error = std::current_exception();
  }
  if (error) co_await context.end_failed_request(error);
}

Task<void> Image::do_read(uint64_t offset, ReadBuffers to) {
  return read_guest(GuestOffset(offset), std::move(to));
}

uint64_t Image::vm_state_start() const {
  return parts_->context.vm_state_start().value();
}

layout::GuestOffset Image::vm_state_offset(uint64_t offset, uint64_t length) const {
  const uint64_t start = vm_state_start();
  const uint64_t entries_max = layout::limits::kL1EntriesMax;
  // An L2 table of 2 MiB maps 512 GiB, and there are at most 4 Mi of them: no overflow.
  const uint64_t end_max = entries_max * geometry().l2_coverage();
  if (offset > end_max - start || length > end_max - start - offset) {
    throw Error(ErrorKind::kNoSpace, EFBIG,
                ErrorData{.code = "qcow2-vm-state-too-large",
                          .bound = end_max - start,
                          .file = file().filename()},
                fmt::format("the VM state area has at most {} bytes", end_max - start));
  }
  return layout::GuestOffset(start + offset);
}

Task<void> Image::read_vm_state(uint64_t offset, ReadBuffers to) {
  return start([&] {
    check_open();
    return do_read_vm_state(vm_state_offset(offset, to.size()), std::move(to));
  });
}

Task<void> Image::do_read_vm_state(GuestOffset offset, ReadBuffers to) {
  co_await parts_->context.events().raise(DebugEvent::kVmstateLoad);
  co_await read_guest(offset, std::move(to));
}

namespace {

// Tells what was lost: L2 tables and refcount blocks.
Error as_close_error(const Tables& tables, const Error& error) {
  const auto not_written = [&error](Literal code, const char* what) {
    return Error(error.kind(), error.errno_value(), ErrorData{.code = code},
                 fmt::format("the {} could not be written: {}", what, error.message()));
  };
  const bool lacks_l2_tables = tables.l2_cache.has_dirty();
  const bool lacks_refcounts = tables.refcount_cache.has_dirty();
  if (!lacks_l2_tables && !lacks_refcounts) return error;
  const Error refcounts = not_written("qcow2-refcounts-not-written", "refcount blocks");
  if (!lacks_l2_tables) return refcounts;
  const Error l2_tables = not_written("qcow2-l2-tables-not-written", "L2 tables");
  return lacks_refcounts ? l2_tables.with_more(refcounts) : l2_tables;
}

}  // namespace

Task<void> Image::do_close() {
  // Everything is closed even if something fails; the first error is thrown.
  std::exception_ptr first_error;
  try {
    co_await finish_writing();
  } catch (const Error& error) {
    first_error = std::make_exception_ptr(as_close_error(parts_->tables, error));
  } catch (...) {
    first_error = std::current_exception();
  }
  for (BlockDevice* device : {data_file(), &file(), backing()}) {
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
  return parts_->context.header();
}

const layout::Extensions& Image::extensions() const {
  return parts_->context.extensions();
}

const layout::Geometry& Image::geometry() const {
  return parts_->context.geometry;
}

const std::vector<layout::Snapshot>& Image::snapshots() const {
  return parts_->snapshots;
}

const std::vector<layout::BitmapEntry>& Image::bitmaps() const {
  return parts_->bitmaps;
}

const std::string& Image::backing_filename() const {
  return parts_->context.header_store.backing_file_name();
}

const std::string& Image::backing_format() const {
  static const std::string none;
  return parts_->context.extensions().backing_format ? *parts_->context.extensions().backing_format
                                                     : none;
}

const std::string& Image::data_filename() const {
  static const std::string none;
  return parts_->context.extensions().data_file_name ? *parts_->context.extensions().data_file_name
                                                     : none;
}

bool Image::has_external_data_file() const {
  return header().has_external_data_file();
}

void Image::set_backing(std::unique_ptr<BlockDevice> backing) {
  parts_->context.storage.set_backing(std::move(backing));
}

void Image::set_data_file(std::unique_ptr<BlockDevice> data_file) {
  parts_->context.storage.set_data_file(std::move(data_file));
  update_limits();
}

std::vector<ChildDevice> Image::children() const {
  std::vector<ChildDevice> children{{"file", &file()}};
  if (data_file() != nullptr) children.push_back({"data-file", data_file()});
  if (backing() != nullptr) children.push_back({"backing", backing()});
  return children;
}

BlockDevice* Image::backing() const {
  return parts_->context.backing();
}

BlockDevice* Image::data_file() const {
  return parts_->context.storage.data_file();
}

BlockDevice& Image::file() const {
  return parts_->context.file();
}

}  // namespace byre::qcow2
