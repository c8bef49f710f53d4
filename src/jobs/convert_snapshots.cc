// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert_snapshots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/copy_failure.h"
#include "jobs/state_difference.h"
#include "jobs/vm_state_device.h"

namespace byre::jobs {
namespace {

Error unsupported(ErrorData data, std::string sentence) {
  return Error(ErrorKind::kUnsupported, ENOTSUP, std::move(data), std::move(sentence));
}

// A part of the work, which counts as `weight` from `before` on.
class Part final : public Progress {
 public:
  Part(Progress* whole, uint64_t before, uint64_t weight, uint64_t total)
      : whole_(whole), before_(before), weight_(weight), total_(total) {}

  void update(uint64_t done, uint64_t total) override {
    const double share = total == 0 ? 1.0 : static_cast<double>(done) / static_cast<double>(total);
    const auto own = static_cast<uint64_t>(share * static_cast<double>(weight_));
    whole_->update(before_ + std::min(own, weight_), total_);
  }
  bool is_watched() const override { return whole_->is_watched(); }

 private:
  Progress* const whole_;
  const uint64_t before_;
  const uint64_t weight_;
  const uint64_t total_;
};

class Conversion {
 public:
  explicit Conversion(SnapshotsConversion conversion)
      : task_(std::move(conversion)), states_(*task_.states), target_(*task_.target) {}

  Task<void> run() {
    co_await plan();
    target_.expect_snapshots(states_.snapshots());
    for (size_t index = 0; index <= states_.snapshots(); ++index) co_await copy(index);
  }

 private:
  void check_cancellation() const {
    if (task_.cancellation != nullptr) task_.cancellation->check();
  }

  uint64_t vm_state_size(size_t index) const {
    return index < states_.snapshots() ? states_.snapshot(index).vm_state_size : 0;
  }

  StateDifference difference_to(size_t index) const {
    return StateDifference(&states_, index,
                           {.cluster_size = target_.geometry().cluster_size(),
                            .top_layer_only = task_.options.top_layer_only,
                            .source_backing_size = task_.options.source_backing_size,
                            .target_has_backing = target_.backing() != nullptr});
  }

  // How much work each state is.
  Task<void> plan() {
    weights_.assign(states_.snapshots() + 1, 0);
    if (task_.progress == nullptr) co_return;
    for (size_t index = 0; index < weights_.size(); ++index) {
      const uint64_t disk = co_await weight_of(index);
      weights_[index] = disk;
      total_ += disk + vm_state_size(index);
    }
  }

  Task<uint64_t> weight_of(size_t index) {
    if (!task_.progress->is_watched()) co_return states_.at(index)->size();
    if (index > 0) {
      StateDifference difference = difference_to(index);
      co_return co_await data_in(&difference, ExtentScope::kLayer);
    }
    const bool is_layer = task_.options.top_layer_only;
    co_return co_await data_in(states_.at(0), is_layer ? ExtentScope::kLayer : ExtentScope::kChain);
  }

  // What cannot be looked at is not counted: if that is an error, the copy finds it, too.
  Task<uint64_t> data_in(BlockDevice* device, ExtentScope scope) const {
    uint64_t total = 0;
    try {
      for (uint64_t at = 0; at < device->size();) {
        check_cancellation();
        const std::vector<Extent> extents =
            co_await device->extents(at, device->size() - at, scope);
        for (const Extent& extent : extents) {
          if (extent.present && !extent.zero) total += extent.length;
        }
        at = extents.back().offset + extents.back().length;
      }
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
    }
    co_return total;
  }

  // Runs a part of the work.
  Task<void> convert_part(BlockDevice* source, BlockDevice* target, ConvertOptions options,
                          uint64_t weight) {
    Part part(task_.progress, done_, weight, total_);
    Progress* const progress = task_.progress == nullptr ? nullptr : &part;
    const std::vector<BlockDevice*> sources{source};
    co_await convert(sources, *target, std::move(options), progress, task_.cancellation);
    done_ += weight;
  }

  Task<void> copy(size_t index) {
    if (index == states_.snapshots()) {
      co_await copy_disk(index);
      co_return;
    }
    std::optional<Error> failure;
    try {
      co_await copy_disk(index);
      co_await copy_vm_state(index);
      co_await target_.create_snapshot(snapshot_at(index));
      co_return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::kCancelled) throw;
      failure = error.with_prefix(fmt::format("snapshot '{}'", states_.snapshot(index).name));
    }
    throw *failure;
  }

  Task<void> copy_disk(size_t index) {
    qcow2::Image* const source = states_.at(index);
    if (target_.size() != source->size()) {
      co_await target_.resize(source->size(), Preallocation::kOff);
    }
    if (index == 0) {
      co_await convert_part(source, &target_, task_.options, weights_[index]);
      co_return;
    }
    StateDifference difference = difference_to(index);
    co_await set_back(&difference);
    ConvertOptions options = task_.options;
    options.target_is_zero = false;
    options.top_layer_only = true;
    options.source_backing_size = UINT64_MAX;
    options.backing_size = UINT64_MAX;
    co_await convert_part(&difference, &target_, std::move(options), weights_[index]);
  }

  // What need not be copied.
  Task<void> set_back(StateDifference* difference) {
    using Kind = StateDifference::Piece::Kind;
    for (uint64_t at = 0; at < difference->size();) {
      check_cancellation();
      const StateDifference::Piece piece = co_await piece_at(difference, at);
      if (piece.kind == Kind::kShared) {
        co_await target_.share_with_snapshot(piece.snapshot, at, piece.length);
      }
      if (piece.kind == Kind::kUnallocated) co_await target_.unallocate(at, piece.length);
      at += piece.length;
    }
  }

  Task<StateDifference::Piece> piece_at(StateDifference* difference, uint64_t offset) const {
    std::optional<Error> failure;
    try {
      co_return co_await difference->at(offset);
    } catch (const Error& error) {
      failure = failure_at({.code = "convert-extents-unreadable", .offset = offset},
                           "cannot see what the source has at", error);
    }
    if (!task_.options.salvage) throw *failure;
    // The copy looks at each sector.
    co_return StateDifference::Piece{.length = std::min(kSectorSize, difference->size() - offset)};
  }

  // It is not compressed, and its zeroes are written, as QEMU does it.
  Task<void> copy_vm_state(size_t index) {
    const uint64_t size = vm_state_size(index);
    if (size == 0) co_return;
    VmStateDevice source(states_.at(index), size);
    VmStateDevice target(&target_, align_up(size, kSectorSize));
    ConvertOptions options = task_.options;
    options.sparse_size = 0;
    options.compressed = false;
    options.write_order = WriteOrder::kOneByOne;
    options.target_is_zero = false;
    options.top_layer_only = false;
    options.source_backing_size = UINT64_MAX;
    options.backing_size = UINT64_MAX;
    co_await convert_part(&source, &target, std::move(options), size);
  }

  qcow2::NewSnapshot snapshot_at(size_t index) const {
    const qcow2::layout::Snapshot& from = states_.snapshot(index);
    qcow2::NewSnapshot snapshot;
    snapshot.id = from.id;
    snapshot.name = from.name;
    snapshot.date_sec = from.date_sec;
    snapshot.date_nsec = from.date_nsec;
    snapshot.vm_clock_nsec = from.vm_clock_nsec;
    snapshot.vm_state_size = from.vm_state_size;
    snapshot.icount = from.icount.value_or(UINT64_MAX);
    snapshot.unknown_extra_data = from.unknown_extra_data;
    return snapshot;
  }

  const SnapshotsConversion task_;
  const SourceStates& states_;
  qcow2::Image& target_;
  std::vector<uint64_t> weights_;  // of the disks
  uint64_t total_ = 0;
  uint64_t done_ = 0;
};

void check_refcount_width(const open::CreationOptions& options, uint64_t snapshots) {
  const uint64_t bits = options.number("refcount_bits");
  if (bits == 0 || bits >= 32 || snapshots < (uint64_t{1} << bits) - 1) return;
  throw unsupported({.code = "convert-snapshots-refcount-width",
                     .field = "refcount_bits",
                     .value = bits,
                     .bound = snapshots + 1},
                    fmt::format("refcount_bits is {}, too few for clusters that the disk and {} "
                                "snapshots share",
                                bits, snapshots));
}

}  // namespace

void check_target_of_snapshots(const open::CreationOptions& options, const SourceStates& states) {
  if (options.format() != "qcow2") {
    throw unsupported({.code = "convert-snapshots-to-format", .name = options.format()},
                      fmt::format("the snapshots are to be copied, but the target's format is {}, "
                                  "which has none",
                                  options.format()));
  }
  if (states.snapshots() == 0) return;
  if (options.get("data_file")) {
    throw unsupported({.code = "convert-snapshots-with-data-file", .field = "data_file"},
                      "the target is to have an external data file, and such an image cannot have "
                      "snapshots");
  }
  check_refcount_width(options, states.snapshots());
  const std::string version = options.get("compat").value_or("");
  const bool is_old = version == "v2" || version == "0.10";
  if (!is_old || states.have_one_size()) return;
  throw unsupported({.code = "convert-snapshots-of-several-sizes", .field = "compat"},
                    "the snapshots of the source have different disk sizes, which version 2 of the "
                    "format cannot store");
}

Task<void> convert_with_snapshots(SnapshotsConversion conversion) {
  Conversion work(std::move(conversion));
  co_await work.run();
}

}  // namespace byre::jobs
