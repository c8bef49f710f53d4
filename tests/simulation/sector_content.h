// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/units.h"

namespace byre::simulation {

using Sector = std::array<uint8_t, kSectorSize>;
// Shared and constant: a model holds many versions of many sectors.
using SectorBytes = std::shared_ptr<const Sector>;

// The data that a request writes identifies its offset and the request, in every sector, so that
// misplaced or outdated bytes are noticed and can be named.
struct Content {
  uint32_t generation = 0;  // above 0
  bool compresses = false;  // the rest of a sector repeats its first bytes, else it is noise
};

// The bytes of a disk from `offset` on, as that request writes them.
void fill_content(Bytes to, uint64_t offset, Content content);

// "zeroes", "sector 12 of request 7", "the backing file's sector 3", or the first bytes.
std::string describe(ConstBytes sector);

// Generations that no request has.
inline constexpr uint32_t kBackingGeneration = 0xffff0001;
inline constexpr uint32_t kStrangerGeneration = 0xffff0002;  // old data of the host's disk

SectorBytes zero_sector();

}  // namespace byre::simulation
