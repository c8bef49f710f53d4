// SPDX-License-Identifier: Apache-2.0
#include "simulation/sector_content.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace byre::simulation {

namespace {

// A sector begins with this; the low bit of the mark selects what follows.
struct Head {
  uint32_t mark;
  uint32_t generation;
  uint64_t sector;
};
static_assert(sizeof(Head) == 16);
constexpr uint32_t kMark = 0x62797265;

uint64_t noise(uint64_t at, uint64_t seed) {
  uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ (mixed >> 29)) * 0x94d049bb133111ebu;
  return mixed ^ (mixed >> 32);
}

void fill_sector(Sector* sector, uint64_t number, Content content) {
  const Head head{kMark, content.generation, number};
  std::memcpy(sector->data(), &head, sizeof head);
  for (size_t at = sizeof head; at < sector->size(); at += 8) {
    uint64_t word;
    if (content.compresses) {
      std::memcpy(&word, sector->data() + at % sizeof head, 8);
    } else {
      word = noise(number * kSectorSize + at, content.generation);
    }
    std::memcpy(sector->data() + at, &word, 8);
  }
}

}  // namespace

void fill_content(Bytes to, uint64_t offset, Content content) {
  Sector sector;
  for (size_t done = 0; done < to.size();) {
    const uint64_t at = offset + done;
    const size_t in_sector = at % kSectorSize;
    const size_t part = std::min<size_t>(kSectorSize - in_sector, to.size() - done);
    fill_sector(&sector, at / kSectorSize, content);
    std::memcpy(to.data() + done, sector.data() + in_sector, part);
    done += part;
  }
}

std::string describe(ConstBytes sector) {
  if (std::ranges::all_of(sector, [](uint8_t byte) { return byte == 0; })) return "zeroes";
  Head head{};
  if (sector.size() >= sizeof head) std::memcpy(&head, sector.data(), sizeof head);
  if (head.mark != kMark) {
    std::string bytes;
    for (const uint8_t byte : sector.first(std::min<size_t>(16, sector.size()))) {
      bytes += fmt::format("{:02x} ", byte);
    }
    return "bytes " + bytes + "...";
  }
  // Partly the data of another request, if the request ended inside the sector.
  Sector whole;
  bool is_whole = false;
  for (const bool compresses : {false, true}) {
    fill_sector(&whole, head.sector, {head.generation, compresses});
    is_whole |= std::ranges::equal(sector, ConstBytes(whole).first(sector.size()));
  }
  const char* const mixed = is_whole ? "" : ", mixed with others";
  if (head.generation == kBackingGeneration) {
    return fmt::format("the backing file's sector {:#x}{}", head.sector, mixed);
  }
  if (head.generation == kStrangerGeneration) {
    return fmt::format("a stranger's sector {:#x}{}", head.sector, mixed);
  }
  return fmt::format("sector {:#x} of request {}{}", head.sector, head.generation, mixed);
}

SectorBytes zero_sector() {
  static const SectorBytes zero = std::make_shared<const Sector>();
  return zero;
}

}  // namespace byre::simulation
