// SPDX-License-Identifier: Apache-2.0
// How a session changes the properties of its image. What the guest and the snapshots read stays, so the model learns
// nothing.
#include "simulation/session.h"

namespace byre::simulation {

Task<void> Session::amend(uint64_t choice) {
  const std::vector<uint8_t> before = image_->header().encode();
  co_await change_properties(choice);
  // It may have had these properties already.
  has_written_ |= image_->header().encode() != before;
}

Task<void> Session::change_properties(uint64_t choice) {
  const bool has_version_3 = image_->header().version >= 3;
  if (!has_version_3) {
    co_await image_->upgrade();
    co_return;
  }
  // The plan may need more than one bit for its snapshots.
  const uint32_t order_min = world_->plan.takes_snapshots ? 1 : 0;
  switch (choice % 4) {
    case 0:
      // Nothing opens a version 2 image with that option; and a bitmap that is added to one leaks.
      if (world_->plan.keeps_discarded || world_->plan.has_bitmap) co_return;
      if (image_->header().refcount_bits() != 16) co_await image_->set_refcount_bits(16, nullptr);
      co_await image_->downgrade(false, nullptr);
      break;
    case 1:
      co_await image_->set_lazy_refcounts(!image_->header().has_lazy_refcounts());
      break;
    default:
      co_await image_->set_refcount_bits(1u << std::max<uint64_t>(choice / 4 % 7, order_min),
                                         nullptr);
      break;
  }
}

}  // namespace byre::simulation
