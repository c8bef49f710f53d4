// SPDX-License-Identifier: Apache-2.0
#include "jobs/rebase_source.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "async/ready.h"
#include "byre/error.h"
#include "open/open.h"

namespace byre::jobs {
namespace {

std::vector<BlockDevice*> layers_of(BlockDevice* device) {
  std::vector<BlockDevice*> layers;
  while (device != nullptr) {
    layers.push_back(device);
    qcow2::Image* const image = open::as_qcow2(device);
    device = image == nullptr ? nullptr : image->backing();
  }
  return layers;
}

bool reads_as_zero(const Extent& extent) {
  return extent.zero || !extent.present;
}

bool is_same(std::optional<FileIdentity> a, std::optional<FileIdentity> b) {
  return a.has_value() && a == b;
}

bool have_same_place(const Extent& a, const Extent& b) {
  if (!a.host_offset || !b.host_offset || *a.host_offset != *b.host_offset) return false;
  return is_same(a.file->identity(), b.file->identity());
}

// A qcow2 image that is in a file of the host as it is, without anything in between that could shift
// or change its bytes.
std::optional<FileIdentity> plain_image(const std::vector<BlockDevice*>& layers, uint32_t depth) {
  if (depth >= layers.size()) return std::nullopt;
  const qcow2::Image* const image = open::as_qcow2(layers[depth]);
  return image == nullptr ? std::nullopt : image->file().identity();
}

Extent part_of(const Extent& extent, uint64_t offset) {
  Extent part = extent;
  if (part.host_offset) *part.host_offset += offset - extent.offset;
  part.length -= offset - extent.offset;
  part.offset = offset;
  return part;
}

Task<void> refused() {
  return failed<void>(std::make_exception_ptr(
      Error(ErrorKind::kPermission, EPERM, "a view of an image is read-only")));
}

}  // namespace

RebaseSource::RebaseSource(BlockDevice* image, BlockDevice* base)
    : image_(image), base_(base), layers_(layers_of(image)), base_layers_(layers_of(base)) {}

Task<std::vector<Extent>> RebaseSource::base_extents(uint64_t offset, uint64_t length) const {
  const uint64_t end = base_ == nullptr ? 0 : base_->size();
  if (offset < end) {
    const uint64_t asked = std::min(length, end - offset);
    co_return co_await base_->extents(offset, asked, ExtentScope::kChain);
  }
  co_return std::vector<Extent>{{.offset = offset, .length = length, .zero = true}};
}

bool RebaseSource::may_differ(const Extent& now, const Extent& then) const {
  if (now.present && now.depth == 0) return false;
  if (reads_as_zero(now) && reads_as_zero(then)) return false;
  if (now.compressed && then.compressed) {
    return !is_same(plain_image(layers_, now.depth), plain_image(base_layers_, then.depth));
  }
  return reads_as_zero(now) || reads_as_zero(then) || !have_same_place(now, then);
}

Task<std::vector<Extent>> RebaseSource::do_extents(uint64_t offset, uint64_t length, ExtentScope) {
  const std::vector<Extent> now = co_await image_->extents(offset, length, ExtentScope::kChain);
  const uint64_t known = now.back().offset + now.back().length - offset;
  const std::vector<Extent> then = co_await base_extents(offset, known);
  std::vector<Extent> result;
  auto a = now.begin();
  auto b = then.begin();
  while (a != now.end() && b != then.end()) {
    const uint64_t a_end = a->offset + a->length;
    const uint64_t b_end = b->offset + b->length;
    const uint64_t end = std::min(a_end, b_end);
    const bool differs = may_differ(part_of(*a, offset), part_of(*b, offset));
    const uint32_t depth = differs ? 0 : 1;
    if (!result.empty() && result.back().depth == depth) {
      result.back().length += end - offset;
    } else {
      result.push_back({.offset = offset,
                        .length = end - offset,
                        .present = true,
                        .data = true,
                        .depth = depth});
    }
    offset = end;
    if (a_end == end) ++a;
    if (b_end == end) ++b;
  }
  co_return result;
}

Task<void> RebaseSource::do_read(uint64_t offset, ReadBuffers to) {
  return image_->read(offset, std::move(to));
}

Task<void> RebaseSource::do_write(uint64_t, WriteBuffers, WriteFlags) {
  return refused();
}

Task<void> RebaseSource::do_write_zeroes(uint64_t, uint64_t, WriteFlags) {
  return refused();
}

Task<void> RebaseSource::do_discard(uint64_t, uint64_t) {
  return refused();
}

Task<void> RebaseSource::do_flush() {
  return ready();
}

Task<void> RebaseSource::do_resize(uint64_t, Preallocation) {
  return refused();
}

Task<void> RebaseSource::do_close() {
  return ready();
}

}  // namespace byre::jobs
