// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>

#include "base/bytes.h"
#include "base/checked.h"

namespace byre::fuzz {

// The known contents of a disk, by sectors of 512 bytes; the others are unknown. The disk may have
// any size.
class SectorModel {
 public:
  static constexpr uint64_t kSector = 512;
  using Sector = std::array<uint8_t, kSector>;

  bool knows(uint64_t offset, uint64_t length) const {
    for (uint64_t at = first(offset); at < offset + length; at += kSector) {
      if (!sectors_.contains(at)) return false;
    }
    return true;
  }
  // Learns whole sectors that were read from the disk; returns false if known ones differ.
  bool learn(uint64_t offset, ConstBytes bytes) {
    for (uint64_t done = 0; done + kSector <= bytes.size(); done += kSector) {
      const ConstBytes part = bytes.subspan(done, kSector);
      const auto [place, is_new] = sectors_.try_emplace(offset + done);
      if (is_new) {
        std::ranges::copy(part, place->second.begin());
      } else if (!std::ranges::equal(place->second, part)) {
        return false;
      }
    }
    return true;
  }
  // Learns whole sectors that were read after a discard: each byte of the range must be what it
  // was, or zero, else returns false.
  bool learn_discarded(uint64_t offset, ConstBytes bytes, uint64_t begin, uint64_t end) {
    for (uint64_t i = 0; i < bytes.size(); ++i) {
      Sector* const known = find(offset + i);
      if (known == nullptr) continue;
      uint8_t& byte = (*known)[(offset + i) % kSector];
      const bool is_inside = offset + i >= begin && offset + i < end;
      if (bytes[i] != byte && !(is_inside && bytes[i] == 0)) return false;
      byte = bytes[i];
      if (is_inside) unflushed_.insert(first(offset + i));
    }
    return true;
  }
  // Applies a write. Sectors that it covers in part and that were unknown stay unknown.
  void write(uint64_t offset, ConstBytes bytes) {
    for (uint64_t done = 0; done < bytes.size();) {
      const uint64_t at = first(offset + done);
      const uint64_t in_sector = offset + done - at;
      const uint64_t length = std::min<uint64_t>(bytes.size() - done, kSector - in_sector);
      unflushed_.insert(at);
      if (length == kSector || sectors_.contains(at)) {
        std::ranges::copy(bytes.subspan(done, length),
                          sectors_[at].begin() + static_cast<ptrdiff_t>(in_sector));
      }
      done += length;
    }
  }
  // For requests that failed, or that are too large to read back.
  void forget(uint64_t offset, uint64_t length) {
    has_forgotten_ = true;
    sectors_.erase(sectors_.lower_bound(first(offset)), sectors_.lower_bound(offset + length));
  }
  void forget_all() {
    sectors_.clear();
    flushed();
  }
  void flushed() {
    unflushed_.clear();
    has_forgotten_ = false;
  }
  // What was written since the last flush may be there or not.
  void crashed() {
    if (has_forgotten_) sectors_.clear();
    for (const uint64_t sector : unflushed_) sectors_.erase(sector);
    flushed();
  }

  const std::map<uint64_t, Sector>& sectors() const { return sectors_; }

 private:
  static uint64_t first(uint64_t offset) { return align_down(offset, kSector); }
  Sector* find(uint64_t offset) {
    const auto place = sectors_.find(first(offset));
    return place == sectors_.end() ? nullptr : &place->second;
  }

  std::map<uint64_t, Sector> sectors_;
  std::set<uint64_t> unflushed_;
  bool has_forgotten_ = false;  // since the last flush
};

}  // namespace byre::fuzz
