// SPDX-License-Identifier: Apache-2.0
#include "testing/simulated_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "base/checked.h"

namespace byre::faults {

void SimulatedCache::write(uint64_t offset, ConstBytes from, const std::shared_ptr<Write>& write) {
  now_.write(offset, from);
  remember(offset, from.size(), write);
}

void SimulatedCache::clear(uint64_t offset, uint64_t length, const std::shared_ptr<Write>& write) {
  now_.clear(offset, length);
  remember(offset, length, write);
}

// Puts the current contents of sectors into the cache.
void SimulatedCache::remember(uint64_t offset, uint64_t length,
                              const std::shared_ptr<Write>& write) {
  const uint64_t end = offset + length;
  for (uint64_t at = align_down(offset, kSectorSize); at < end; at += kSectorSize) {
    auto bytes = std::make_shared<std::array<uint8_t, kSectorSize>>();
    const auto part = static_cast<uint32_t>(std::min(kSectorSize, now_.size() - at));
    now_.read(at, Bytes(*bytes).first(part));
    pending_[at / kSectorSize].push_back({std::move(bytes), part, write});
  }
}

void SimulatedCache::resize(uint64_t size, const std::shared_ptr<Write>& write) {
  const bool shrinks = size < now_.size();
  now_.resize(size);
  if (!shrinks) return;
  size_min_ = std::min(size_min_, size);
  pending_.erase(pending_.lower_bound(size / kSectorSize), pending_.end());
  if (size % kSectorSize != 0) remember(size - 1, 1, write);
}

void SimulatedCache::make_durable(uint64_t called_at) {
  // Truncated bytes precede what was written there since.
  if (size_min_ < durable_.size()) durable_.resize(size_min_);
  size_min_ = UINT64_MAX;
  for (auto sector = pending_.begin(); sector != pending_.end();) {
    std::vector<Version>& versions = sector->second;
    const auto covered = std::ranges::find_if(
        versions.rbegin(), versions.rend(),
        [&](const Version& version) { return version.write->done_at <= called_at; });
    if (covered != versions.rend()) {
      durable_.write(sector->first * kSectorSize,
                     ConstBytes(*covered->bytes).first(covered->length));
      versions.erase(versions.begin(), covered.base());
    }
    sector = versions.empty() ? pending_.erase(sector) : std::next(sector);
  }
}

void SimulatedCache::flush(uint64_t called_at) {
  make_durable(called_at);
  durable_.resize(now_.size());
}

void SimulatedCache::forget(uint64_t seed, uint64_t kept_of) {
  std::mt19937_64 random(seed);
  for (auto sector = pending_.begin(); sector != pending_.end();) {
    const bool is_under_way = std::ranges::any_of(
        sector->second, [](const Version& version) { return version.write->done_at == kUnderWay; });
    if (is_under_way || random() % kept_of == 0) {
      ++sector;
    } else {
      forgotten_.insert(sector->first);
      sector = pending_.erase(sector);
    }
  }
}

uint64_t SimulatedCache::settle() {
  for (const uint64_t sector : forgotten_) {
    const uint64_t offset = sector * kSectorSize;
    if (pending_.contains(sector) || offset >= now_.size()) continue;
    std::array<uint8_t, kSectorSize> bytes{};
    if (offset < durable_.size()) {
      durable_.read(offset, Bytes(bytes).first(std::min(kSectorSize, durable_.size() - offset)));
    }
    now_.write(offset, ConstBytes(bytes).first(std::min(kSectorSize, now_.size() - offset)));
  }
  forgotten_.clear();
  uint64_t last_id = 0;
  for (const auto& [sector, versions] : pending_) {
    for (const Version& version : versions) {
      version.write->done_at = 0;
      last_id = std::max(last_id, version.write->id);
    }
  }
  return last_id;
}

namespace {

// How a power cut selects what survives.
struct Choice {
  // kSectors: each independently. kRequests: whole requests, some torn. kPrefix: those up to a
  // moment, as with a disk that reorders nothing, the last one torn.
  enum class Kind { kSectors, kRequests, kPrefix } kind = Kind::kSectors;
  uint64_t seed = 0;
  uint64_t kept_of_16 = 0;
  uint64_t last_kept = 0;

  static uint64_t mix(uint64_t a, uint64_t b) {
    uint64_t mixed = (a + 0x9e3779b97f4a7c15u) ^ (b * 0xbf58476d1ce4e5b9u);
    mixed = (mixed ^ (mixed >> 30)) * 0x94d049bb133111ebu;
    mixed = (mixed ^ (mixed >> 27)) * 0x9e3779b97f4a7c15u;
    return mixed ^ (mixed >> 31);
  }
  bool keeps(uint64_t sector, uint64_t write) const {
    const bool by_sector = mix(mix(seed, sector), write) % 16 < kept_of_16;
    switch (kind) {
      case Kind::kSectors:
        return by_sector;
      case Kind::kRequests: {
        const uint64_t lot = mix(seed, write);
        if (lot % 16 == 15) return (mix(lot, sector) & 1) != 0;
        return (lot >> 8) % 16 < kept_of_16;
      }
      case Kind::kPrefix:
        return write < last_kept || (write == last_kept && by_sector);
    }
    return false;
  }
};

}  // namespace

storage::SparseBytes SimulatedCache::power_cut(uint64_t seed, std::string* description) const {
  storage::SparseBytes left = durable_;
  std::mt19937_64 random(seed);
  uint64_t first_write = UINT64_MAX;
  uint64_t last_write = 0;
  for (const auto& [sector, versions] : pending_) {
    first_write = std::min(first_write, versions.front().write->id);
    last_write = std::max(last_write, versions.back().write->id);
  }
  Choice choice;
  choice.kind = static_cast<Choice::Kind>(random() % 3);
  choice.seed = random();
  choice.kept_of_16 = random() % 17;
  if (last_write > 0) choice.last_kept = first_write + random() % (last_write - first_write + 1);
  if (size_min_ < left.size() && random() % 2 == 0) left.resize(size_min_);
  uint64_t kept = 0;
  for (const auto& [sector, versions] : pending_) {
    for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
      if (!choice.keeps(sector, version->write->id)) continue;
      left.write(sector * kSectorSize, ConstBytes(*version->bytes).first(version->length));
      ++kept;
      break;
    }
  }
  // A file may have grown before the data arrived that it was extended for.
  if (left.size() < now_.size() && random() % 2 == 0) {
    left.resize(left.size() + random() % (now_.size() - left.size() + 1));
  }
  if (description != nullptr) {
    const char* const kinds[] = {"by sectors", "by requests", "up to a moment"};
    *description = fmt::format(
        "power cut, seed {:#x}: keeps {} of {} sectors {}, {} of {} bytes long", seed, kept,
        pending_.size(), kinds[static_cast<int>(choice.kind)], left.size(), now_.size());
  }
  return left;
}

}  // namespace byre::faults
