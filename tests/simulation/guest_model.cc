// SPDX-License-Identifier: Apache-2.0
#include "simulation/guest_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/checked.h"

namespace byre::simulation {

namespace {

using Values = std::vector<SectorBytes>;

bool is_equal(const SectorBytes& value, ConstBytes found) {
  return std::memcmp(value->data(), found.data(), found.size()) == 0;
}

bool contains(const Values& values, ConstBytes found) {
  return std::ranges::any_of(values,
                             [&](const SectorBytes& value) { return is_equal(value, found); });
}

void add(Values* values, const Values& more) {
  for (const SectorBytes& value : more) {
    if (!contains(*values, *value)) values->push_back(value);
  }
}

SectorBytes copy_of(ConstBytes bytes) {
  if (is_equal(zero_sector(), bytes)) return zero_sector();
  Sector sector{};
  std::ranges::copy(bytes, sector.begin());
  return std::make_shared<const Sector>(sector);
}

}  // namespace

GuestModel::GuestModel(uint64_t size, std::vector<uint8_t> backing)
    : backing_(std::move(backing)), size_(size), sizes_{size}, sectors_(size / kSectorSize) {
  for (size_t i = 0; i < sectors_.size(); ++i) {
    sectors_[i].durable = sectors_[i].visible = {backing_sector(i)};
  }
}

SectorBytes GuestModel::backing_sector(uint64_t sector) const {
  const uint64_t offset = sector * kSectorSize;
  if (offset >= backing_.size()) return zero_sector();
  Sector bytes{};
  const uint64_t length = std::min(kSectorSize, backing_.size() - offset);
  std::ranges::copy(ConstBytes(backing_).subspan(offset, length), bytes.begin());
  return copy_of(bytes);
}

std::vector<uint8_t> GuestModel::empty_disk() const {
  std::vector<uint8_t> bytes = backing_;
  bytes.resize(size_);
  return bytes;
}

// `bytes` nullptr: zeroes.
void GuestModel::begin(uint64_t offset, uint64_t length, const uint8_t* bytes) {
  const uint64_t end = offset + length;
  BYRE_ASSERT(end <= sectors_.size() * kSectorSize);
  for (uint64_t at = offset; at < end;) {
    const uint64_t in_sector = at % kSectorSize;
    const uint64_t part = std::min(kSectorSize - in_sector, end - at);
    State& state = sectors_[at / kSectorSize];
    Step step;
    if (part == kSectorSize) {
      step.values.push_back(bytes == nullptr ? zero_sector()
                                             : copy_of({bytes + (at - offset), kSectorSize}));
    } else {
      for (const SectorBytes& before : state.visible) {
        Sector after = *before;
        if (bytes == nullptr) {
          std::memset(after.data() + in_sector, 0, part);
        } else {
          std::memcpy(after.data() + in_sector, bytes + (at - offset), part);
        }
        add(&step.values, {copy_of(after)});
      }
    }
    state.later.push_back(std::move(step));
    at += part;
  }
}

void GuestModel::begin_write(uint64_t offset, ConstBytes bytes) {
  begin(offset, bytes.size(), bytes.data());
}

void GuestModel::begin_zeroes(uint64_t offset, uint64_t length) {
  begin(offset, length, nullptr);
}

void GuestModel::finish(uint64_t offset, uint64_t length, bool is_known) {
  if (length == 0) return;
  const uint64_t finished = clock_++;
  for (uint64_t i = offset / kSectorSize; i <= (offset + length - 1) / kSectorSize; ++i) {
    State& state = sectors_[i];
    BYRE_ASSERT(!state.later.empty() && state.later.back().finished == 0);
    Step& step = state.later.back();
    step.finished = finished;
    step.is_known = is_known;
    if (is_known) {
      state.visible = step.values;
    } else {
      add(&state.visible, step.values);
    }
  }
}

void GuestModel::done(uint64_t offset, uint64_t length) {
  finish(offset, length, true);
}

void GuestModel::unknown(uint64_t offset, uint64_t length) {
  finish(offset, length, false);
}

void GuestModel::flushed(uint64_t called_at) {
  if (resize_finished_ != 0 && resize_finished_ <= called_at) sizes_ = {size_};
  for (State& state : sectors_) {
    size_t covered = 0;
    for (const Step& step : state.later) {
      if (step.finished == 0 || step.finished > called_at) break;
      if (step.is_known) {
        state.durable = step.values;
      } else {
        add(&state.durable, step.values);
      }
      ++covered;
    }
    state.later.erase(state.later.begin(), state.later.begin() + static_cast<ptrdiff_t>(covered));
  }
}

void GuestModel::made_durable(uint64_t offset, uint64_t length) {
  for (uint64_t i = offset / kSectorSize; i <= (offset + length - 1) / kSectorSize; ++i) {
    sectors_[i].durable = sectors_[i].visible;
    sectors_[i].later.clear();
  }
}

void GuestModel::begin_resize(uint64_t new_size) {
  resize_finished_ = 0;
  if (std::ranges::find(sizes_, new_size) == sizes_.end()) sizes_.push_back(new_size);
  for (uint64_t i = new_size / kSectorSize; i < size_ / kSectorSize; ++i) {
    Step step;
    step.values = {zero_sector()};
    add(&step.values, {backing_sector(i)});
    sectors_[i].later.push_back(std::move(step));
  }
  const size_t count = new_size / kSectorSize;
  if (count > sectors_.size()) sectors_.resize(count);
  for (uint64_t i = size_ / kSectorSize; i < count; ++i) {
    add(&sectors_[i].durable, {zero_sector()});
    sectors_[i].visible = {zero_sector()};
    sectors_[i].later.push_back({{zero_sector()}, clock_, true});
  }
}

void GuestModel::resized(uint64_t size_now, bool is_known) {
  const uint64_t finished = clock_++;
  for (State& state : sectors_) {
    if (state.later.empty() || state.later.back().finished != 0) continue;
    state.later.back().finished = finished;  // past the new end
    add(&state.visible, state.later.back().values);
  }
  size_ = size_now;
  if (is_known) resize_finished_ = finished;
}

void GuestModel::begin_replacement(ConstBytes bytes) {
  resize_finished_ = 0;
  if (std::ranges::find(sizes_, bytes.size()) == sizes_.end()) sizes_.push_back(bytes.size());
  const size_t count = bytes.size() / kSectorSize;
  if (count > sectors_.size()) sectors_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    Step step;
    step.values = {copy_of(bytes.subspan(i * kSectorSize, kSectorSize))};
    sectors_[i].later.push_back(std::move(step));
  }
}

void GuestModel::not_replaced(uint64_t size_now) {
  const uint64_t finished = clock_++;
  for (State& state : sectors_) {
    if (state.later.empty() || state.later.back().finished != 0) continue;
    state.later.back().finished = finished;
    add(&state.visible, state.later.back().values);
  }
  size_ = size_now;
}

std::string GuestModel::wrong(uint64_t sector, ConstBytes found, const char* when) const {
  const State& state = sectors_[sector];
  std::string allowed;
  const auto append = [&](const char* name, const Values& values) {
    for (const SectorBytes& value : values) {
      allowed += fmt::format("\n    {}: {}", name, describe(*value));
    }
  };
  append("durable", state.durable);
  for (const Step& step : state.later) {
    append(step.finished == 0 ? "under way" : step.is_known ? "written" : "perhaps", step.values);
  }
  append("visible", state.visible);
  return fmt::format("sector {:#x} {} holds {}; possible are:{}", sector, when, describe(found),
                     allowed);
}

std::optional<std::string> GuestModel::check_read(uint64_t offset, ConstBytes bytes) {
  for (uint64_t at = offset, end = offset + bytes.size(); at < end;) {
    const uint64_t in_sector = at % kSectorSize;
    const uint64_t part = std::min(kSectorSize - in_sector, end - at);
    const ConstBytes found = bytes.subspan(at - offset, part);
    State& state = sectors_[at / kSectorSize];
    const auto is_wrong = [&](const SectorBytes& value) {
      return std::memcmp(value->data() + in_sector, found.data(), part) != 0;
    };
    if (std::ranges::all_of(state.visible, is_wrong)) {
      return wrong(at / kSectorSize, found, "as read");
    }
    if (state.visible.size() > 1) {
      std::erase_if(state.visible, is_wrong);
      if (state.visible.size() == 1) state.later.push_back({state.visible, clock_++, true});
    }
    at += part;
  }
  return std::nullopt;
}

bool GuestModel::may_be_left(const State& state, ConstBytes found) const {
  if (contains(state.durable, found)) return true;
  return std::ranges::any_of(state.later,
                             [&](const Step& step) { return contains(step.values, found); });
}

std::optional<std::string> GuestModel::check_crash(ConstBytes bytes) const {
  if (std::ranges::find(sizes_, bytes.size()) == sizes_.end()) {
    return fmt::format("the disk has {} bytes, which it never had since the last flush",
                       bytes.size());
  }
  return check_raw(bytes);
}

std::optional<std::string> GuestModel::check_raw(ConstBytes bytes) const {
  const uint64_t end = std::min<uint64_t>(bytes.size(), sectors_.size() * kSectorSize);
  for (uint64_t at = 0; at < end; at += kSectorSize) {
    const ConstBytes found = bytes.subspan(at, std::min(kSectorSize, end - at));
    if (!may_be_left(sectors_[at / kSectorSize], found)) {
      return wrong(at / kSectorSize, found, "after the crash");
    }
  }
  return std::nullopt;
}

void GuestModel::restart(ConstBytes bytes) {
  BYRE_ASSERT(bytes.size() % kSectorSize == 0);
  size_ = bytes.size();
  sizes_ = {size_};
  resize_finished_ = clock_++;
  sectors_.assign(size_ / kSectorSize, {});
  for (size_t i = 0; i < sectors_.size(); ++i) {
    const SectorBytes value = copy_of(bytes.subspan(i * kSectorSize, kSectorSize));
    sectors_[i].durable = sectors_[i].visible = {value};
  }
}

void GuestModel::observe(ConstBytes bytes) {
  BYRE_ASSERT(bytes.size() % kSectorSize == 0);
  size_ = bytes.size();
  resize_finished_ = clock_++;
  for (size_t i = 0; i < bytes.size() / kSectorSize; ++i) {
    State& state = sectors_[i];
    const SectorBytes value = copy_of(bytes.subspan(i * kSectorSize, kSectorSize));
    for (Step& step : state.later) {
      if (step.finished == 0) step.finished = clock_;
    }
    state.visible = {value};
    if (!state.later.empty() || state.durable.size() > 1) {
      state.later.push_back({{value}, clock_, true});
    }
  }
  ++clock_;
}

}  // namespace byre::simulation
