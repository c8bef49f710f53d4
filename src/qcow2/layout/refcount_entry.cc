// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/refcount_entry.h"

#include <algorithm>

#include "base/assert.h"

namespace byre::qcow2::layout {
namespace {

// The position of an entry narrower than a byte: its byte, and the shift inside it.
struct SubByte {
  uint64_t byte;
  uint32_t shift;
  uint8_t mask;
};

SubByte sub_byte(uint64_t index, uint32_t refcount_order) {
  const uint32_t bits = uint32_t{1} << refcount_order;
  const uint64_t bit = index << refcount_order;
  return {bit / 8, static_cast<uint32_t>(bit % 8), static_cast<uint8_t>((1u << bits) - 1)};
}

void check_index(size_t block_size, uint64_t index, uint32_t refcount_order) {
  BYRE_ASSERT(refcount_order <= limits::kRefcountOrderMax);
  BYRE_ASSERT(index < (uint64_t{block_size} * 8) >> refcount_order);
}

}  // namespace

uint64_t load_refcount(ConstBytes block, uint64_t index, uint32_t refcount_order) {
  check_index(block.size(), index, refcount_order);
  const uint8_t* data = block.data();
  switch (refcount_order) {
    case 3:
      return data[index];
    case 4:
      return load_big_endian<uint16_t>(data + index * 2);
    case 5:
      return load_big_endian<uint32_t>(data + index * 4);
    case 6:
      return load_big_endian<uint64_t>(data + index * 8);
    default:
      break;
  }
  const SubByte place = sub_byte(index, refcount_order);
  return (data[place.byte] >> place.shift) & place.mask;
}

void store_refcount(Bytes block, uint64_t index, uint32_t refcount_order, uint64_t value) {
  check_index(block.size(), index, refcount_order);
  const uint32_t bits = uint32_t{1} << refcount_order;
  BYRE_ASSERT(bits == 64 || value >> bits == 0);
  uint8_t* data = block.data();
  switch (refcount_order) {
    case 3:
      data[index] = static_cast<uint8_t>(value);
      return;
    case 4:
      store_big_endian(data + index * 2, static_cast<uint16_t>(value));
      return;
    case 5:
      store_big_endian(data + index * 4, static_cast<uint32_t>(value));
      return;
    case 6:
      store_big_endian(data + index * 8, value);
      return;
    default:
      break;
  }
  const SubByte place = sub_byte(index, refcount_order);
  const uint32_t cleared = data[place.byte] & ~(uint32_t{place.mask} << place.shift);
  data[place.byte] = static_cast<uint8_t>(cleared | (value << place.shift));
}

uint64_t count_free_refcounts(ConstBytes block, uint64_t first, uint64_t count,
                              uint32_t refcount_order) {
  const uint64_t entries_per_word = uint64_t{64} >> refcount_order;
  uint64_t index = first;
  const uint64_t end = first + count;
  while (index < end) {
    const bool whole_word = index % entries_per_word == 0 && end - index >= entries_per_word;
    if (whole_word && load_refcount(block, index / entries_per_word, 6) == 0) {
      index += entries_per_word;
      continue;
    }
    if (load_refcount(block, index, refcount_order) != 0) break;
    ++index;
  }
  return index - first;
}

}  // namespace byre::qcow2::layout
