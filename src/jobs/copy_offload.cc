// SPDX-License-Identifier: Apache-2.0
#include "jobs/copy_offload.h"

#include "base/checked.h"

namespace byre::jobs {

CopyOffload::CopyOffload(const SourceSequence& source, BlockDevice& target)
    : source_(source), target_(target) {}

Task<bool> CopyOffload::copy(uint64_t offset, uint64_t length) {
  if (was_refused_ || length == 0) co_return false;
  const SourceSequence::Location location = source_.location_of(offset, length);
  if (location.device == nullptr || !range_fits(offset, length, target_.size())) co_return false;
  const std::optional<HostRange> source = location.device->host_range(location.offset, length);
  if (!source) co_return false;
  const bool is_copied = co_await target_.copy_from(*source, offset, length);
  was_refused_ = !is_copied;
  co_return is_copied;
}

}  // namespace byre::jobs
