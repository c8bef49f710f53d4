// SPDX-License-Identifier: Apache-2.0
// How a session creates, applies and deletes internal snapshots.
#include <algorithm>

#include "simulation/session.h"

namespace byre::simulation {

using faults::MemoryFaults;

Task<void> Session::perform(Request request, Begun* begun) {
  if (request.is_of_snapshots()) {
    co_await manage_snapshot(std::move(request));
  } else if (request.kind == Request::Kind::kAmend) {
    co_await amend(request.length);
  } else if (request.kind == Request::Kind::kEmpty) {
    co_await image_->make_empty();
  } else if (request.kind == Request::Kind::kRebase) {
    co_await rebase(std::move(request));
  } else if (request.kind == Request::Kind::kCommit) {
    co_await commit(std::move(request));
  } else if (request.kind == Request::Kind::kUnallocate) {
    co_await image_->unallocate(request.offset, request.length);
  } else if (request.kind == Request::Kind::kShare) {
    co_await share(std::move(request));
  } else {
    co_await simulation::perform(image_.get(), std::move(request), &begun->bytes,
                                 world_->plan.create.preallocation);
  }
}

Task<void> Session::manage_snapshot(Request request) {
  if (request.kind == Request::Kind::kCreate) {
    qcow2::NewSnapshot snapshot;
    snapshot.name = request.snapshot;
    co_await image_->create_snapshot(std::move(snapshot));
    co_return;
  }
  qcow2::SnapshotSelector selector;
  selector.name = request.snapshot;
  if (request.kind == Request::Kind::kApply) {
    co_await image_->apply_snapshot(std::move(selector));
  } else {
    co_await image_->delete_snapshot(std::move(selector));
  }
}

Task<void> Session::share(Request request) {
  const std::vector<qcow2::layout::Snapshot>& snapshots = image_->snapshots();
  const auto found = std::ranges::find(snapshots, request.snapshot, &qcow2::layout::Snapshot::name);
  BYRE_ASSERT(found != snapshots.end());
  const auto index = static_cast<size_t>(found - snapshots.begin());
  co_await image_->share_with_snapshot(index, request.offset, request.length);
}

// Whether the snapshots, and their disks, are still such that the request makes sense.
bool Session::is_possible(const Request& request) {
  using Kind = Request::Kind;
  if (request.kind != Kind::kShare && request.kind != Kind::kApply && request.kind != Kind::kRemove)
    return true;
  const FrozenSnapshot* const snapshot = snapshot_of(request);
  if (snapshot == nullptr) return false;
  if (request.kind != Kind::kShare) return true;
  const uint64_t end = request.offset + request.length;
  const uint64_t size = snapshot->bytes.size();
  const bool is_whole = end % world_->plan.create.cluster_size == 0 || end == size;
  return snapshot->is_certain && end <= size && is_whole;
}

// Returns false if it could not be read.
Task<bool> Session::read_whole_disk(std::vector<uint8_t>* bytes) {
  MemoryFaults::hold();
  bytes->resize(image_->size());
  MemoryFaults::go_on();
  const ReadBuffers to((Bytes(*bytes)));
  try {
    co_await image_->read(0, to);
  } catch (const std::exception&) {
    co_return false;
  }
  if (is_off_) co_return false;
  const MemoryFaults::Pause pause;
  const std::optional<std::string> wrong = world_->model->check_read(0, *bytes);
  if (wrong) fail("before a snapshot: " + *wrong);
  co_return true;
}

FrozenSnapshot* Session::snapshot_of(const Request& request) {
  const auto found = std::ranges::find(world_->snapshots, request.snapshot, &FrozenSnapshot::name);
  return found == world_->snapshots.end() ? nullptr : &*found;
}

void Session::begin_of_snapshot(const Request& request, std::vector<uint8_t> contents) {
  const MemoryFaults::Pause pause;
  if (request.kind == Request::Kind::kCreate) {
    world_->snapshots.push_back({request.snapshot, std::move(contents), world_->below, false});
  } else if (request.kind == Request::Kind::kApply) {
    world_->model->begin_replacement(snapshot_of(request)->bytes);
  } else {
    snapshot_of(request)->is_certain = false;
  }
}

// After a failure a snapshot may be there or not.
void Session::finish_of_snapshot(const Request& request, const Begun& begun, bool is_done) {
  FrozenSnapshot* const snapshot = snapshot_of(request);
  GuestModel& model = *world_->model;
  if (request.kind == Request::Kind::kApply) {
    if (is_done) model.restart(snapshot->bytes);
    if (!is_done) model.not_replaced(image_->size());
  }
  if (!is_done) return;
  has_written_ = true;
  if (request.kind == Request::Kind::kCreate) {
    snapshot->is_certain = true;
    // Everything is durable with it.
    model.flushed(begun.called_at);
  } else if (request.kind == Request::Kind::kRemove) {
    // Without room for new tables, what the snapshot shares with others leaks.
    const bool was_full = begun.was_tight || tight_times_ != begun.tight_before;
    if (was_full || !world_->plan.file_grows) world_->leaks_allowed = true;
    std::erase_if(world_->snapshots,
                  [&](const FrozenSnapshot& each) { return each.name == request.snapshot; });
  }
  look_at_cuts();
}

}  // namespace byre::simulation
