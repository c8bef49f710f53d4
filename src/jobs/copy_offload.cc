// SPDX-License-Identifier: Apache-2.0
#include "jobs/copy_offload.h"

#include "base/checked.h"
#include "open/raw_device.h"

namespace byre::jobs {
namespace {

// The file of a raw image; nullptr for any other device.
storage::FileDevice* file_of(BlockDevice* device) {
  if (auto* raw = dynamic_cast<open::RawDevice*>(device)) device = &raw->file();
  return dynamic_cast<storage::FileDevice*>(device);
}

}  // namespace

CopyOffload::CopyOffload(const SourceSequence& source, BlockDevice& target)
    : source_(source), target_(file_of(&target)) {}

Task<bool> CopyOffload::copy(uint64_t offset, uint64_t length) {
  if (target_ == nullptr || length == 0) co_return false;
  const SourceSequence::Place place = source_.place_of(offset, length);
  storage::FileDevice* source = file_of(place.device);
  if (source == nullptr || !range_fits(place.offset, length, source->size()) ||
      !range_fits(offset, length, target_->size())) {
    co_return false;
  }
  const bool is_copied = co_await target_->copy_from(*source, place.offset, offset, length);
  if (!is_copied) target_ = nullptr;
  co_return is_copied;
}

}  // namespace byre::jobs
