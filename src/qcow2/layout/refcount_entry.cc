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

// The entries of a block, whose bytes are `Span`, if each has whole bytes.
template <class T, class Span>
class WideEntries {
 public:
  explicit WideEntries(Span block) : block_(block) {}
  uint64_t get(uint64_t index) const {
    return load_big_endian<T>(block_.data() + index * sizeof(T));
  }
  void set(uint64_t index, uint64_t value) const {
    store_big_endian(block_.data() + index * sizeof(T), static_cast<T>(value));
  }

 private:
  Span block_;
};

template <class Span>
class NarrowEntries {
 public:
  NarrowEntries(Span block, uint32_t order) : block_(block), order_(order) {}
  uint64_t get(uint64_t index) const { return load_refcount(block_, index, order_); }
  void set(uint64_t index, uint64_t value) const { store_refcount(block_, index, order_, value); }

 private:
  Span block_;
  uint32_t order_;
};

// Calls `work` with the entries: millions are changed at once, and all have one width.
template <class Span, class Work>
uint64_t with_entries(Span block, uint32_t refcount_order, Work work) {
  switch (refcount_order) {
    case 3:
      return work(WideEntries<uint8_t, Span>(block));
    case 4:
      return work(WideEntries<uint16_t, Span>(block));
    case 5:
      return work(WideEntries<uint32_t, Span>(block));
    case 6:
      return work(WideEntries<uint64_t, Span>(block));
    default:
      return work(NarrowEntries<Span>(block, refcount_order));
  }
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

uint64_t increment_refcounts(Bytes block, uint64_t first, uint64_t count, uint32_t refcount_order) {
  if (count == 0) return 0;
  check_index(block.size(), first + count - 1, refcount_order);
  const uint64_t refcount_max = ~uint64_t{0} >> (64 - (uint32_t{1} << refcount_order));
  return with_entries(block, refcount_order, [=](auto entries) {
    uint64_t done = 0;
    for (; done < count; ++done) {
      const uint64_t refcount = entries.get(first + done);
      if (refcount == 0 || refcount == refcount_max) break;
      entries.set(first + done, refcount + 1);
    }
    return done;
  });
}

uint64_t decrement_refcounts(Bytes block, uint64_t first, uint64_t count, uint32_t refcount_order,
                             bool* reaches_one) {
  if (count == 0) return 0;
  check_index(block.size(), first + count - 1, refcount_order);
  return with_entries(block, refcount_order, [=](auto entries) {
    bool has_one = false;
    uint64_t done = 0;
    for (; done < count; ++done) {
      const uint64_t refcount = entries.get(first + done);
      if (refcount <= 1) break;
      has_one |= refcount == 2;
      entries.set(first + done, refcount - 1);
    }
    *reaches_one |= has_one;
    return done;
  });
}

uint64_t count_alike_refcounts(ConstBytes block, uint64_t first, uint64_t count,
                               uint32_t refcount_order) {
  if (count == 0) return 0;
  check_index(block.size(), first + count - 1, refcount_order);
  return with_entries(block, refcount_order, [=](auto entries) {
    const bool is_one = entries.get(first) == 1;
    uint64_t same = 1;
    while (same < count && (entries.get(first + same) == 1) == is_one) ++same;
    return same;
  });
}

}  // namespace byre::qcow2::layout
