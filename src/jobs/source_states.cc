// SPDX-License-Identifier: Apache-2.0
#include "jobs/source_states.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "byre/error.h"
#include "filter/borrowed_device.h"

namespace byre::jobs {
namespace {

// 1 GiB of tables.
constexpr uint64_t kL1EntriesMax = uint64_t{1} << 27;

std::unique_ptr<BlockDevice> borrowed(BlockDevice& device) {
  constexpr auto kNothing = filter::BorrowedDevice::AtClose::kNothing;
  return std::make_unique<filter::BorrowedDevice>(device, kNothing);
}

}  // namespace

SourceStates::SourceStates(BlockDevice* active) : active_(open::as_qcow2(active)) {
  if (active_ == nullptr) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "convert-snapshots-of-format", .name = active->driver()},
                fmt::format("the snapshots are to be copied, but the source's format is {}, which "
                            "has none",
                            active->driver()));
  }
  // Reading only the disk goes on with a warning.
  const uint32_t wanted = active_->header().snapshot_count;
  if (active_->snapshots().size() == wanted) return;
  throw Error(
      ErrorKind::kCorrupt, EIO, ErrorData{.code = "convert-snapshots-unreadable", .value = wanted},
      fmt::format("the snapshot table of the source, with {} entries, cannot be read", wanted));
}

Task<std::unique_ptr<qcow2::Image>> SourceStates::open_at(size_t index) const {
  std::optional<Error> failure;
  try {
    std::unique_ptr<qcow2::Image> image =
        co_await active_->open_snapshot(index, borrowed(active_->file()));
    if (active_->backing() != nullptr) image->set_backing(borrowed(*active_->backing()));
    if (active_->data_file() != nullptr) image->set_data_file(borrowed(*active_->data_file()));
    co_return image;
  } catch (const Error& error) {
    failure = error.with_prefix(fmt::format("snapshot '{}'", snapshot(index).name));
  }
  throw *failure;
}

// All L1 tables are in memory together.
void SourceStates::check_l1_sizes() const {
  uint64_t entries = 0;
  for (const qcow2::layout::Snapshot& each : active_->snapshots()) entries += each.l1_size;
  if (entries <= kL1EntriesMax) return;
  throw Error(
      ErrorKind::kUnsupported, EFBIG,
      ErrorData{.code = "convert-snapshots-too-large",
                .field = "l1_size",
                .value = entries,
                .bound = kL1EntriesMax},
      fmt::format("the L1 tables of all snapshots have {} entries; at most {} are supported",
                  entries, kL1EntriesMax));
}

Task<void> SourceStates::open() {
  check_l1_sizes();
  for (size_t index = 0; index < snapshots(); ++index) {
    std::unique_ptr<qcow2::Image> image = co_await open_at(index);
    images_.push_back(std::move(image));
  }
}

Task<void> SourceStates::close() {
  for (const std::unique_ptr<qcow2::Image>& image : images_) {
    try {
      co_await image->close();
    } catch (const Error&) {
      // It was only read.
    }
  }
  images_.clear();
}

bool SourceStates::have_one_size() const {
  const uint64_t size = active_->size();
  return std::ranges::all_of(active_->snapshots(), [size](const qcow2::layout::Snapshot& each) {
    return each.disk_size_or(size) == size;
  });
}

qcow2::Image* SourceStates::at(size_t index) const {
  return index == images_.size() ? active_ : images_[index].get();
}

}  // namespace byre::jobs
