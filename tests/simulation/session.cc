// SPDX-License-Identifier: Apache-2.0
#include "simulation/session.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <new>
#include <utility>

#include "async/loop.h"
#include "async/when_all.h"
#include "base/checked.h"

namespace byre::simulation {

using faults::MemoryFaults;
using faults::SimulatedDisk;
using storage::SparseBytes;

namespace {

// A session ends after this many consecutive errors.
constexpr uint32_t kErrorsInTurnMax = 6;
// The error that a request threw; nullopt if it did not throw.
std::optional<Error> error_of(std::exception_ptr thrown) {
  if (!thrown) return std::nullopt;
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return Error::from_errno(ENOMEM, "there is no memory");
  }
}

}  // namespace

Session::Session(World* world, uint64_t seed, uint32_t requests, End end, Guest guest)
    : world_(world),
      random_(seed),
      cut_random_(seed + 1),
      loop_seed_(seed + 2),
      requests_left_(requests),
      end_(end),
      guest_(guest) {
  const uint64_t moments = end_ == End::kEarlyKill ? 3 : uint64_t{6} * requests + 1;
  if (end_ != End::kClose) cut_at_ = 1 + cut_random_() % moments;
  // Checks that marks are there before anything else.
  if (world->plan.has_bitmap) rare_moments_left_ = kRareMoments;
}

std::optional<std::string> Session::run() {
  ++world_->counts.sessions;
  Loop::Options options;
  options.seed = loop_seed_;
  Loop loop(options);
  try {
    loop.run(live());
  } catch (const Error& error) {
    file_ = data_ = nullptr;  // a failed open has closed them
    below_.clear();
    failure_ = fmt::format("it does not open: {} ({})", error.message(), error.hint());
    world_->tell("FAILURE: " + *failure_);
  }
  if (MemoryFaults::failed() > 0) world_->leaks_allowed = true;
  MemoryFaults::end();
  if (!failure_) failure_ = settle_end();
  image_.reset();
  return failure_;
}

void Session::fail(const std::string& what) {
  if (!failure_) failure_ = what;
  world_->tell("FAILURE: " + what);
  power_off();
}

Task<void> Session::live() {
  const Plan& plan = world_->plan;
  auto file = make_disk(std::move(*world_->file), "file", plan.file_grows);
  file_ = file.get();
  std::unique_ptr<SimulatedDisk> data;
  if (world_->data) data = make_disk(std::move(*world_->data), "data", true);
  data_ = data.get();
  qcow2::OpenOptions options;
  options.writable = true;
  if (plan.cache_size != 0) {
    options.cache.l2_cache_size = options.cache.refcount_cache_size = plan.cache_size;
  }
  if (plan.discards_freed) options.pass_discard.other = true;
  options.discard_no_unref = plan.keeps_discarded;
  OpenFile below = open_below();
  image_ =
      co_await open_image(std::move(file), std::move(data), std::move(below), options, &parts_);
  image_->set_writes_through(plan.writes_through);
  if (image_->size() != world_->model->size()) fail("the disk's size is not what it was");
  if (plan.filled > 0 && world_->counts.sessions == 1) co_await fill();
  const SimulatedDisk::Odds odds{plan.error_odds / 2, plan.error_odds, plan.flush_error_odds};
  for (SimulatedDisk* const disk : disks()) disk->set_odds(odds);
  if (plan.is_full_at_once && world_->counts.sessions == 1) {
    // With a cluster of data, its tables and the L1 table the disk is full, or was a little
    // earlier.
    is_tight_ = true;
    ++tight_times_;
    file_->set_room(*file_->allocated_size() + (2 + random_() % 3) * SparseBytes::kChunkSize);
  }
  std::vector<Task<void>> workers;
  for (uint32_t i = 0; i < plan.depth; ++i) workers.push_back(work());
  Task<void> last = close();
  if (plan.memory_odds != 0) MemoryFaults::begin(random_(), plan.memory_odds);
  try {
    co_await when_all(std::move(workers));
  } catch (const std::bad_alloc&) {
    // Not all requests began.
  }
  co_await std::move(last);
}

// Written in one piece, so that there is much data early; the power stays on meanwhile.
Task<void> Session::fill() {
  is_filling_ = true;
  Request request;
  request.number = world_->next_request++;
  request.kind = Request::Kind::kWrite;
  request.length = std::min(world_->plan.filled, image_->size());
  if (request.length > 0) co_await do_request(request);
  request.kind = Request::Kind::kFlush;
  co_await do_request(request);
  is_filling_ = false;
}

RequestBounds Session::bounds() const {
  RequestBounds bounds;
  bounds.only_reads = guest_ == Guest::kOnlyReads;
  bounds.disk_size = world_->model->size();
  bounds.cluster_size = world_->plan.create.cluster_size;
  bounds.can_compress = !world_->data && !world_->plan.create.data_filename;
  bounds.hot_begin = std::min(world_->plan.hot_begin, bounds.disk_size - 1);
  bounds.hot_size = std::min(world_->plan.hot_size, bounds.disk_size - bounds.hot_begin);
  bounds.size_max = world_->plan.create.size + world_->plan.create.size / 2;
  bounds.manages_snapshots = world_->plan.manages_snapshots;
  bounds.amends = world_->plan.amends;
  bounds.empties = world_->plan.empties;
  bounds.shares = world_->plan.shares;
  bounds.rebases = world_->plan.rebases;
  bounds.commits = world_->plan.commits && !world_->below.base.name.empty();
  for (const FrozenSnapshot& snapshot : world_->snapshots) {
    if (snapshot.is_certain) bounds.snapshots.push_back(snapshot.name);
  }
  return bounds;
}

Request Session::draw() {
  const MemoryFaults::Pause pause;
  if (world_->plan.runs_full && one_in(random_, 25)) change_room();
  return draw_request(random_, world_->next_request++, bounds());
}

Task<void> Session::work() {
  while (requests_left_ > 0 && !is_off_ && errors_in_turn_ < kErrorsInTurnMax) {
    --requests_left_;
    const Request request = draw();
    try {
      co_await do_request(request);
    } catch (const std::bad_alloc&) {
      // The request did not begin.
    }
  }
}

Task<void> Session::do_request(Request request) {
  using Kind = Request::Kind;
  const uint64_t begin_of_sectors = align_down(request.offset, kSectorSize);
  const uint64_t end = align_up(request.offset + request.length, kSectorSize);
  RangeLock::Guard guard;
  if (request.is_whole()) {
    guard = co_await ranges_.acquire(0, UINT64_MAX, RangeLock::Mode::kExclusive);
  } else if (request.kind != Kind::kFlush) {
    const auto mode = request.changes() ? RangeLock::Mode::kExclusive : RangeLock::Mode::kShared;
    guard = co_await ranges_.acquire(begin_of_sectors, end - begin_of_sectors, mode);
    // The disk may have another size by now.
    const uint64_t request_end = request.offset + request.length;
    if (request_end > world_->model->size()) co_return;
    if (request.is_of_clusters() && request_end != world_->model->size() &&
        request_end % world_->plan.create.cluster_size != 0) {
      co_return;
    }
  }
  if (is_off_ || changes_base_ || !is_possible(request)) co_return;
  std::vector<uint8_t> contents;
  if (request.kind == Kind::kCreate || request.kind == Kind::kRebase) {
    const bool is_read = co_await read_whole_disk(&contents);
    if (!is_read || is_off_) co_return;
  }
  Begun begun = begin(request);
  if (request.kind == Kind::kRebase) begin_rebase(request, contents);
  if (request.is_of_snapshots()) begin_of_snapshot(request, std::move(contents));
  std::exception_ptr thrown;
  try {
    co_await perform(request, &begun);
  } catch (...) {
    thrown = std::current_exception();
  }
  if (!thrown && request.kind == Kind::kDiscard && !begun.bytes.empty()) {
    co_await read_back(request, &begun.bytes);
  }
  if (is_off_) co_return;
  parts_->check();
  finish(request, begun, thrown);
}

// With writethrough, what is read now is durable. Leaves no bytes if it could not be read.
Task<void> Session::read_back(Request request, std::vector<uint8_t>* bytes) {
  const ReadBuffers to((Bytes(*bytes)));
  try {
    co_await image_->read(request.offset, to);
  } catch (const std::exception&) {
    bytes->clear();
  }
}

// What it makes of its range.
std::vector<uint8_t> Session::contents_after(const Request& request) {
  std::vector<uint8_t> bytes;
  if (request.kind == Request::Kind::kUnallocate) bytes = world_->model->empty_disk();
  if (request.kind == Request::Kind::kShare) bytes = snapshot_of(request)->bytes;
  if (request.is_set_back()) {
    const ConstBytes part = ConstBytes(bytes).subspan(request.offset, request.length);
    return {part.begin(), part.end()};
  }
  bytes.resize(request.length);
  fill_content(bytes, request.offset, request.content());
  return bytes;
}

Session::Begun Session::begin(const Request& request) {
  const MemoryFaults::Pause pause;
  GuestModel& model = *world_->model;
  using Kind = Request::Kind;
  ++world_->counts.requests;
  world_->tell(request.describe());
  Begun begun;
  const bool is_looked_at = request.kind == Kind::kDiscard && world_->plan.writes_through;
  if (request.kind == Kind::kRead || is_looked_at) begun.bytes.resize(request.length);
  if (request.changes_base()) {
    changes_base_ = true;
    requests_left_ = 0;
  }
  if (request.kind == Kind::kWrite || request.kind == Kind::kCompressed || request.is_set_back()) {
    begun.bytes = contents_after(request);
    model.begin_write(request.offset, begun.bytes);
  } else if (request.changes()) {
    model.begin_zeroes(request.offset, request.length);
  } else if (request.kind == Kind::kResize) {
    model.begin_resize(request.length);
  } else if (request.kind == Kind::kEmpty) {
    begun.bytes = model.empty_disk();
    model.begin_replacement(begun.bytes);
  }
  begun.called_at = model.now();
  begun.was_tight = is_tight_;
  begun.tight_before = tight_times_;
  return begun;
}

void Session::finish(const Request& request, const Begun& begun, std::exception_ptr thrown) {
  const MemoryFaults::Pause pause;
  GuestModel& model = *world_->model;
  using Kind = Request::Kind;
  const std::optional<Error> error = error_of(thrown);
  if (error) {
    world_->tell(
        fmt::format("request {} fails: {} ({})", request.number, error->message(), error->hint()));
    // Disks may have been full, and have space again.
    if (!may_fail(request, *error, begun.was_tight || tight_times_ != begun.tight_before)) {
      fail(fmt::format("{} fails: {} ({})", request.describe(), error->message(), error->hint()));
    }
    ++world_->counts.errors;
    ++errors_in_turn_;
    world_->leaks_allowed = true;
    // It may have changed the data file and not the tables, or the other way round.
    if (request.changes() || request.kind == Kind::kResize) world_->is_raw_equal = false;
  } else {
    world_->tell(fmt::format("request {} is done", request.number));
    if (request.changes() || request.kind == Kind::kEmpty || request.changes_base()) {
      has_written_ = true;
    }
    errors_in_turn_ = 0;
  }
  const bool is_known = !error && request.kind != Kind::kDiscard;
  if (request.changes()) {
    if (is_known) model.done(request.offset, request.length);
    if (!is_known) model.unknown(request.offset, request.length);
    const bool is_discard = request.kind == Kind::kDiscard;
    const bool was_read_back = is_discard && !begun.bytes.empty();
    const bool is_written_through =
        world_->plan.writes_through && !request.is_set_back() && (!is_discard || was_read_back);
    const bool is_durable =
        is_written_through || (is_known && has_flag(request.flags, WriteFlags::kFua));
    if (!error && was_read_back) {
      const std::optional<std::string> wrong = model.check_read(request.offset, begun.bytes);
      if (wrong) fail(fmt::format("after {}: {}", request.describe(), *wrong));
    }
    if (!error && is_durable) model.made_durable(request.offset, request.length);
  } else if (request.kind == Kind::kResize) {
    model.resized(image_->size(), is_known);
    if (!error && world_->plan.writes_through) model.flushed(model.now());
  } else if (request.kind == Kind::kAmend) {
    look_at_cuts();
  } else if (request.changes_base()) {
    // What was done before is durable, in the image or in the one below.
    const bool is_emptied = request.kind == Kind::kCommit && request.length == 1;
    if (!error && (request.kind == Kind::kRebase || is_emptied)) model.flushed(begun.called_at);
    look_at_cuts();
  } else if (request.kind == Kind::kEmpty) {
    if (!error) model.restart(begun.bytes);
    if (error) model.not_replaced(image_->size());
    look_at_cuts();
  } else if (request.is_of_snapshots()) {
    finish_of_snapshot(request, begun, !error);
  } else if (request.kind == Kind::kFlush && !error) {
    model.flushed(begun.called_at);
    if (!is_filling_) look_at_cuts();  // the guarantees are strongest now
  } else if (request.kind == Kind::kRead && !error) {
    const std::optional<std::string> wrong = model.check_read(request.offset, begun.bytes);
    if (wrong) fail(fmt::format("{}: {}", request.describe(), *wrong));
  }
}

// Without faults of the disks only requests without a guarantee may fail.
bool Session::may_fail(const Request& request, const Error& error, bool is_tight) const {
  if (world_->plan.error_odds != 0 || world_->plan.memory_odds != 0) return true;
  const bool is_refused = error.kind() == ErrorKind::kUnsupported;
  // An image with bitmaps cannot be resized.
  const bool has_bitmap = world_->of_bitmap.has_value();
  if (request.kind == Request::Kind::kResize && (is_refused || has_bitmap)) return true;
  // A refcount may not fit, and version 2 lacks much.
  if (request.kind == Request::Kind::kAmend && is_refused) return true;
  // A refcount may be at its maximum; an image with bitmaps keeps its disk.
  if ((request.is_of_snapshots() || request.is_set_back()) && is_refused) return true;
  if (has_flag(request.flags, WriteFlags::kNoFallback) && is_refused) return true;
  // The space for a flush was reserved before the requests that it is for completed.
  if (request.kind == Request::Kind::kFlush) return false;
  return error.kind() == ErrorKind::kNoSpace && (is_tight || !world_->plan.file_grows);
}

Task<void> Session::close() {
  if (is_off_) co_return;
  if (is_tight_ && one_in(random_, 2)) {
    is_tight_ = false;
    set_room(false);
  }
  const uint64_t called_at = world_->model->now();
  std::exception_ptr thrown;
  try {
    co_await image_->close();
  } catch (...) {
    thrown = std::current_exception();
  }
  if (!is_off_) finish_closing(called_at, thrown);
}

void Session::finish_closing(uint64_t called_at, std::exception_ptr thrown) {
  const MemoryFaults::Pause pause;
  const std::optional<Error> error = error_of(thrown);
  if (!error && has_flush_failed_ && !has_written_) {
    // The host may have dropped what an earlier writer did not flush, and this one got the error.
    world_->leaks_allowed = true;
    world_->tell("closed after a flush had failed");
    return;
  }
  if (!error) {
    world_->tell("closed");
    // Closing is not guaranteed to make durable what was found when the image was opened.
    if (has_written_) world_->model->flushed(called_at);
    is_closed_ = true;
    return;
  }
  world_->leaks_allowed = true;
  world_->tell("closing fails: " + error->message());
  Request request;
  request.kind = Request::Kind::kFlush;
  if (!may_fail(request, *error, false)) {
    fail(fmt::format("closing fails: {} ({})", error->message(), error->hint()));
  }
}

}  // namespace byre::simulation
