// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block/io_vector.h"
#include "block/write_flags.h"

namespace byre {

// The value of `discard` for a device (QEMU's option, of a node of any driver).
enum class DiscardPolicy {
  kIgnore,  // discards do nothing, and zeroes keep their space: kMayUnmap is ignored
  kUnmap,   // both are done
};

// The value of `detect-zeroes` for a device (QEMU's option, of a node of any driver): writes of
// only zero bytes become write_zeroes().
enum class DetectZeroes {
  kOff,
  kOn,
  kUnmap,  // with kMayUnmap; needs DiscardPolicy::kUnmap
};

// How a device treats requests that could be done in a cheaper way, or ask for more than is
// allowed: for devices whose driver has these options. A plain value type.
struct RequestPolicy {
  // A caller of the library means what it asks for; programs that behave like QEMU's get their
  // default, kIgnore, from their options.
  DiscardPolicy discard = DiscardPolicy::kUnmap;
  DetectZeroes detect_zeroes = DetectZeroes::kOff;

  // Throws Error(kInvalidArgument) if the two contradict each other.
  void validate() const;
  bool ignores_discards() const { return discard == DiscardPolicy::kIgnore; }
  // The effective flags of a write_zeroes().
  WriteFlags zeroes_flags(WriteFlags flags) const;
  // Whether a write is to be done as a write_zeroes(), and the flags for that. kCompressed is
  // dropped, as zeroes need no compression.
  bool becomes_zeroes(const IoVector& from) const {
    return detect_zeroes != DetectZeroes::kOff && from.is_all_zero();
  }
  WriteFlags detected_flags(WriteFlags flags) const;
};

}  // namespace byre
