// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "async/when_all.h"
#include "base/assert.h"
#include "byre/error.h"
#include "filter/borrowed_device.h"
#include "fuzz/chosen_request.h"
#include "fuzz/disk_request.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/image_damage.h"
#include "fuzz/image_recipe.h"
#include "fuzz/sector_model.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"

// An image, and requests to it. The first byte tells where the image comes from: if odd, it is made
// by a recipe (image_recipe.h); if even, the next byte is the number of requests and what follows
// them is the image. Each request takes six bytes.
//
// - An image that byre made accepts every legal request, its bytes are those that were written, and
//   a check finds nothing, except leaks after a crash.
// - An image that a check finds clean stays so, and its bytes are those that were written. Only
//   copied flags may be missing if the disk referred to a cluster twice.
// - Any other image gives errors or results.
namespace {

using namespace byre;
using fuzz::DiskRequest;
using fuzz::FuzzInput;
using fuzz::Kind;
using fuzz::kLengthMax;
using fuzz::perform;
using fuzz::SectorModel;

constexpr size_t kRequestsMax = 20;
constexpr size_t kBatchMax = 6;
// More than images of this size can cause.
constexpr uint64_t kFindingsMax = 100000;

enum class Trust {
  kOurs,   // made by byre
  kClean,  // of any origin; its metadata is sound, its compressed data may not be
  kDamaged,
};

// The errors that a request to a sound image may end in.
bool is_refusal(ErrorKind kind) {
  return kind == ErrorKind::kUnsupported || kind == ErrorKind::kNoSpace ||
         kind == ErrorKind::kInvalidArgument;
}

class Session {
 public:
  explicit Session(ConstBytes bytes) : input_(bytes) {}

  Task<void> run();

 private:
  Task<bool> make();
  Task<bool> open(bool writable);
  Task<void> close();
  Task<std::optional<qcow2::CheckResult>> check();
  Task<void> judge();
  Task<void> expect_sound();
  Task<void> serve();
  Task<void> run_alone(Kind kind);
  Task<void> resize();
  Task<void> finish_batch();
  void apply(const DiskRequest& request);
  Task<void> learn(uint64_t offset, uint64_t length, const DiskRequest* discarded);
  Task<void> expect_contents();
  void add_to_batch(DiskRequest request, bool* is_full);
  bool is_trusted() const { return trust_ != Trust::kDamaged; }

  FuzzInput input_;
  std::unique_ptr<storage::MemoryDevice> file_;
  std::unique_ptr<storage::MemoryDevice> data_ = std::make_unique<storage::MemoryDevice>();
  std::unique_ptr<qcow2::Image> image_;
  Trust trust_ = Trust::kDamaged;
  bool may_leak_ = true;
  bool may_lack_copied_ = false;
  uint8_t choices_ = 0;
  SectorModel model_;
  std::vector<DiskRequest> batch_;
};

Task<bool> Session::make() {
  choices_ = input_.byte();
  if (choices_ % 2 == 0) {
    const size_t length = std::min<size_t>(input_.byte() % kRequestsMax * 6, input_.rest().size());
    file_ = std::make_unique<storage::MemoryDevice>(input_.rest().subspan(length));
    input_ = FuzzInput(input_.rest().first(length));
    co_await judge();
    co_return true;
  }
  file_ = std::make_unique<storage::MemoryDevice>();
  qcow2::CreateOptions options = fuzz::take_recipe(&input_);
  BlockDevice* const data = options.data_filename ? data_.get() : nullptr;
  try {
    co_await qcow2::create(*file_, data, std::move(options));
  } catch (const Error&) {
    co_return false;
  }
  trust_ = Trust::kOurs;
  may_leak_ = false;
  co_return true;
}

Task<bool> Session::open(bool writable) {
  qcow2::OpenOptions options = fuzz::chosen_options(*file_, choices_);
  options.writable = writable;
  try {
    auto file = std::make_unique<filter::BorrowedDevice>(*file_);
    image_ = co_await qcow2::Image::open(std::move(file), std::move(options));
    if (!image_->backing_filename().empty()) image_->set_backing(fuzz::backing_file());
    if (image_->has_external_data_file()) {
      image_->set_data_file(std::make_unique<filter::BorrowedDevice>(*data_));
    }
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
    BYRE_ASSERT(trust_ != Trust::kOurs);
    co_return false;
  }
  co_return true;
}

Task<void> Session::close() {
  if (!image_) co_return;
  try {
    co_await image_->close();
    model_.flushed();
  } catch (const Error&) {
    BYRE_ASSERT(trust_ != Trust::kOurs);
    trust_ = Trust::kDamaged;
  }
  image_.reset();
}

Task<std::optional<qcow2::CheckResult>> Session::check() {
  try {
    qcow2::OpenOptions open_options;
    open_options.for_check = true;
    auto file = std::make_unique<filter::BorrowedDevice>(*file_);
    std::unique_ptr<qcow2::Image> image =
        co_await qcow2::Image::open(std::move(file), std::move(open_options));
    qcow2::CheckOptions check_options;
    check_options.findings_max = kFindingsMax;
    uint64_t flags_missing = 0;
    check_options.on_finding = [&](const qcow2::Finding& finding) {
      if (fuzz::is_missing_flag(finding)) ++flags_missing;
    };
    qcow2::CheckResult result = co_await qcow2::check(*image, std::move(check_options));
    if (may_lack_copied_) result.corruptions -= flags_missing;
    co_return result;
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
  }
  co_return std::nullopt;
}

// Determines what can be expected of an image of unknown origin, or with damage.
Task<void> Session::judge() {
  model_.forget_all();
  trust_ = Trust::kDamaged;
  may_leak_ = true;
  may_lack_copied_ = false;
  const std::optional<qcow2::CheckResult> found = co_await check();
  if (!found || found->corruptions != 0 || found->check_errors != 0) co_return;
  const std::optional<qcow2::layout::Header> header = fuzz::header_of(*file_);
  if (!header || !fuzz::is_metadata_alone(*file_, *header)) co_return;
  trust_ = Trust::kClean;
  may_lack_copied_ = fuzz::is_shared_inside(*file_, *header);
}

Task<void> Session::expect_sound() {
  if (!is_trusted()) co_return;
  const std::optional<qcow2::CheckResult> found = co_await check();
  BYRE_ASSERT(found.has_value());
  BYRE_ASSERT(found->corruptions == 0 && found->check_errors == 0);
  BYRE_ASSERT(may_leak_ || found->leaks == 0);
}

// Requests of a batch are in flight together; requests that touch the same bytes would have no
// defined order.
void Session::add_to_batch(DiskRequest request, bool* is_full) {
  *is_full = batch_.size() >= kBatchMax;
  for (const DiskRequest& other : batch_) {
    const bool overlap = request.offset < other.end() && other.offset < request.end();
    if (overlap && (request.changes() || other.changes())) *is_full = true;
  }
  if (!*is_full) batch_.push_back(std::move(request));
}

// Reads the sectors of a range and compares them with the model. Sectors that cannot be read become
// unknown.
Task<void> Session::learn(uint64_t offset, uint64_t length, const DiskRequest* discarded) {
  const uint64_t begin = align_down(offset, SectorModel::kSector);
  const uint64_t end = std::min(align_up(offset + length, SectorModel::kSector), image_->size());
  if (begin >= end) co_return;
  DiskRequest request{.kind = Kind::kRead, .offset = begin, .length = end - begin};
  request.bytes.assign(request.length, 0xee);
  co_await perform(image_.get(), &request);
  if (request.error) {
    BYRE_ASSERT(trust_ != Trust::kOurs);
    model_.forget(begin, request.length);
  } else if (discarded != nullptr) {
    BYRE_ASSERT(model_.learn_discarded(begin, request.bytes, discarded->offset, discarded->end()));
  } else {
    BYRE_ASSERT(model_.learn(begin, request.bytes));
  }
}

Task<void> Session::finish_batch() {
  std::vector<DiskRequest> batch = std::exchange(batch_, {});
  if (is_trusted()) {
    for (const DiskRequest& request : batch) {
      if (request.length > kLengthMax) continue;  // learnt after it, and zero then
      if (model_.knows(request.offset, request.length)) continue;
      co_await learn(request.offset, request.length, nullptr);
    }
  }
  std::vector<Task<void>> tasks;
  tasks.reserve(batch.size());
  for (DiskRequest& request : batch) tasks.push_back(perform(image_.get(), &request));
  co_await when_all(std::move(tasks));
  if (!is_trusted()) co_return;
  for (const DiskRequest& request : batch) apply(request);
  // The result of a discard is read once all writes around it are known.
  for (const DiskRequest& request : batch) {
    const bool is_short = request.length <= kLengthMax;
    if (request.kind != Kind::kDiscard || request.error || !is_short) continue;
    co_await learn(request.offset, request.length, &request);
  }
}

// Applies a finished request of a batch to the model.
void Session::apply(const DiskRequest& request) {
  if (request.error) {
    BYRE_ASSERT(trust_ != Trust::kOurs || is_refusal(*request.error));
    if (request.changes()) model_.forget(request.offset, request.length);
  } else if (request.kind == Kind::kRead) {
    const uint64_t skip = align_up(request.offset, SectorModel::kSector) - request.offset;
    if (skip >= request.length) return;
    BYRE_ASSERT(model_.learn(request.offset + skip, ConstBytes(request.bytes).subspan(skip)));
  } else if (request.length > kLengthMax && request.bytes.empty()) {
    model_.forget(request.offset, request.length);
    if (request.kind == Kind::kDiscard) return;
    const std::vector<uint8_t> zeroes(kLengthMax / 2);
    model_.write(request.offset, zeroes);
    model_.write(request.end() - zeroes.size(), zeroes);
  } else if (request.kind != Kind::kDiscard) {
    const std::vector<uint8_t> zeroes(request.bytes.empty() ? request.length : 0);
    model_.write(request.offset, zeroes.empty() ? request.bytes : zeroes);
  }
}

Task<void> Session::resize() {
  const uint16_t place = input_.word();
  const uint8_t unit_choice = input_.byte();
  const uint64_t units[] = {SectorModel::kSector, image_->geometry().cluster_size(),
                            image_->geometry().l2_coverage()};
  const uint64_t change = (place & 0x7f) * units[unit_choice % 3];
  const uint64_t old_size = image_->size();
  const bool shrinks = (place & 0x8000) != 0;
  const uint64_t new_size = shrinks ? old_size - std::min(old_size, change) : old_size + change;
  try {
    co_await image_->resize(new_size, Preallocation::kOff);
  } catch (const Error& error) {
    BYRE_ASSERT(trust_ != Trust::kOurs || is_refusal(error.kind()));
    // Bytes past the new end may have been dropped before the invalid entry was met.
    if (is_trusted() && shrinks) model_.forget(new_size, old_size - new_size);
    co_return;
  }
  BYRE_ASSERT(image_->size() == new_size);
  if (!is_trusted()) co_return;
  if (shrinks) model_.forget(new_size, old_size - new_size);
  // The new bytes read as zeroes; checked at both ends.
  if (new_size <= old_size) co_return;
  const uint64_t length = std::min<uint64_t>(new_size - old_size, 8 * SectorModel::kSector);
  const std::vector<uint8_t> zeroes(length);
  for (const uint64_t offset : {old_size, new_size - length}) {
    model_.write(offset, zeroes);
    co_await learn(offset, length, nullptr);
  }
}

// Runs a request alone. If there is no image afterwards, it could not be opened.
Task<void> Session::run_alone(Kind kind) {
  if (kind == Kind::kResize) {
    co_await resize();
    co_return;
  }
  if (kind == Kind::kFlush) {
    try {
      co_await image_->flush();
      model_.flushed();
    } catch (const Error&) {
      BYRE_ASSERT(trust_ != Trust::kOurs);
    }
    co_return;
  }
  if (kind == Kind::kCrash) {
    image_.reset();
    model_.crashed();
    may_leak_ = true;
  } else {
    co_await close();
    co_await expect_sound();
  }
  if (kind == Kind::kDamage) {
    fuzz::damage(file_.get(), &input_);
    co_await judge();
  }
  co_await open(true);
}

Task<void> Session::serve() {
  static constexpr Kind kKinds[] = {
      Kind::kWrite,      Kind::kWrite,   Kind::kWrite, Kind::kCompressed,
      Kind::kCompressed, Kind::kZeroes,  Kind::kUnmap, Kind::kUnmap,
      Kind::kDiscard,    Kind::kDiscard, Kind::kRead,  Kind::kFlush,
      Kind::kResize,     Kind::kReopen,  Kind::kCrash, Kind::kDamage,
  };
  for (size_t count = 0; count < kRequestsMax && !input_.is_empty() && image_; ++count) {
    const uint8_t choice = input_.byte();
    const Kind kind = kKinds[choice % 16];
    if (kind <= Kind::kRead) {
      const uint16_t place = input_.word();
      const uint8_t size = input_.byte();
      const uint8_t seed = input_.byte();
      DiskRequest request = fuzz::chosen_request(*image_, kind, place, size, seed);
      if (request.length == 0) continue;
      bool is_full = false;
      add_to_batch(request, &is_full);
      if (is_full) {
        co_await finish_batch();
        add_to_batch(std::move(request), &is_full);
      }
      if ((choice & 0x80) == 0) co_await finish_batch();
    } else {
      co_await finish_batch();
      co_await run_alone(kind);
    }
  }
  if (image_) co_await finish_batch();
}

Task<void> Session::expect_contents() {
  if (!is_trusted()) co_return;
  uint64_t begin = 0;
  uint64_t end = 0;
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  for (const auto& [offset, bytes] : model_.sectors()) {
    if (offset != end || offset - begin >= kLengthMax) {
      if (end > begin) runs.emplace_back(begin, end - begin);
      begin = offset;
    }
    end = offset + SectorModel::kSector;
  }
  if (end > begin) runs.emplace_back(begin, end - begin);
  for (const auto& [offset, length] : runs) co_await learn(offset, length, nullptr);
}

Task<void> Session::run() {
  const bool is_made = co_await make();
  if (!is_made) co_return;
  co_await open(true);
  if (image_) co_await serve();
  co_await close();
  co_await expect_sound();
  if (!is_trusted()) {
    co_await check();
    co_return;
  }
  const bool is_open = co_await open(false);
  if (!is_open) co_return;
  co_await expect_contents();
  co_await close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Session session(ConstBytes(data, size));
  Loop loop({.seed = data[size - 1]});
  loop.run(session.run());
  return 0;
}
