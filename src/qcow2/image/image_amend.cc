// SPDX-License-Identifier: Apache-2.0
// Changes of an image's properties. The guest reads the same before and after.
#include <bit>
#include <utility>

#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/image/run_request.h"

namespace byre::qcow2 {

namespace {

uint32_t order_of(uint32_t refcount_bits) {
  return static_cast<uint32_t>(std::countr_zero(refcount_bits));
}

// `change` returns its task.
template <typename Change>
Task<void> run_change(ImageParts* image, Change change) {
  WriteParts& parts = image->write_parts();
  co_await parts.preparation.begin_for_tables();
  Task<void> task = change(parts);
  co_await std::move(task);
  image->is_preallocated.reset();
}

Task<RangeLock::Guard> settle(WriteParts* parts) {
  RangeLock::Guard guard =
      co_await parts->context->guest_lock.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  co_await parts->flusher.settle();
  co_return guard;
}

// If refcounts are written late from now on, the dirty bit must be set before the first of them is.
Task<void> change_lazy_refcounts(WriteParts* parts, bool is_on) {
  const RangeLock::Guard guard = co_await settle(parts);
  HeaderStore::FeatureChange change;
  (is_on ? change.compatible_set : change.compatible_cleared) = layout::compatible::kLazyRefcounts;
  const bool is_late = parts->context->options.lazy_refcounts.value_or(is_on);
  (is_late ? change.incompatible_set : change.incompatible_cleared) = layout::incompatible::kDirty;
  co_await parts->context->header_store.change_features(change);
}

Task<void> change_data_filename(WriteParts* parts, std::string name) {
  const RangeLock::Guard guard = co_await settle(parts);
  layout::HeaderCluster target = parts->context->header_store.first_cluster();
  target.extensions.data_file_name.reset();
  if (!name.empty()) target.extensions.data_file_name = std::move(name);
  co_await parts->context->header_store.replace(std::move(target));
}

Task<void> clear_raw_bit(WriteParts* parts) {
  const RangeLock::Guard guard = co_await settle(parts);
  const HeaderStore::FeatureChange change{.autoclear_cleared = layout::autoclear::kRawExternalData};
  co_await parts->context->header_store.change_features(change);
}

}  // namespace

template <typename Change>
Task<void> Image::amend(Change change) {
  return start([&] {
    check_open();
    check_changeable();
    ImageParts* const parts = parts_.get();
    return run_request(parts, [parts, change] { return run_change(parts, change); });
  });
}

void Image::check_resize(uint64_t new_size) const {
  parts_->write_parts().growth.validate(new_size, Preallocation::kOff);
}

void Image::check_downgrade(const Downgrade& wanted) const {
  parts_->write_parts().version_change.check_downgrade(wanted);
}

Task<void> Image::check_refcount_bits(uint32_t bits) {
  return start([&] {
    check_open();
    check_changeable();
    return parts_->write_parts().refcount_width.check_fits(order_of(bits));
  });
}

Task<void> Image::set_refcount_bits(uint32_t bits, AmendProgress on_progress) {
  return amend([bits, on_progress](WriteParts& parts) {
    return parts.refcount_width.change(order_of(bits), on_progress);
  });
}

Task<void> Image::upgrade() {
  Task<void> change = amend([](WriteParts& parts) { return parts.version_change.upgrade(); });
  co_await std::move(change);
  update_limits();
}

Task<void> Image::downgrade(bool drops_bitmaps, AmendProgress on_progress) {
  Task<void> change = amend([drops_bitmaps, on_progress](WriteParts& parts) {
    return parts.version_change.downgrade(drops_bitmaps, on_progress);
  });
  co_await std::move(change);
  update_limits();
}

Task<void> Image::set_lazy_refcounts(bool is_on) {
  return amend([is_on](WriteParts& parts) { return change_lazy_refcounts(&parts, is_on); });
}

Task<void> Image::set_data_filename(std::string name) {
  return amend([name](WriteParts& parts) { return change_data_filename(&parts, name); });
}

Task<void> Image::clear_raw_external_data() {
  return amend([](WriteParts& parts) { return clear_raw_bit(&parts); });
}

}  // namespace byre::qcow2
