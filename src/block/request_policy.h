// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "block/block_device.h"

namespace byre {

// What `discard` says of a device (QEMU's option, of a node of any driver).
enum class DiscardPolicy {
  kIgnore,  // discards do nothing, and zeroes keep their space: kMayUnmap does not count
  kUnmap,   // both are done
};

// What `detect-zeroes` says of a device (QEMU's option, of a node of any driver): writes of nothing
// but zero bytes become write_zeroes().
enum class DetectZeroes {
  kOff,
  kOn,
  kUnmap,  // with kMayUnmap; needs DiscardPolicy::kUnmap
};

// How a device takes requests that ask for less than they could, or more than they may: for devices
// whose driver has these options. Plain values.
struct RequestPolicy {
  // A caller of the library means what he asks; programs that act as QEMU's have their default,
  // kIgnore, from their options.
  DiscardPolicy discard = DiscardPolicy::kUnmap;
  DetectZeroes detect_zeroes = DetectZeroes::kOff;

  // Throws Error(kInvalidArgument) in QEMU's words where the two contradict each other.
  void validate() const;
  bool ignores_discards() const { return discard == DiscardPolicy::kIgnore; }
  // The flags of a write_zeroes() as they count.
  WriteFlags zeroes_flags(WriteFlags flags) const;
  // Whether a write is to be done as a write_zeroes(), and the flags of that. kCompressed goes, as
  // zeroes need no compression.
  bool becomes_zeroes(const IoVector& from) const;
  WriteFlags detected_flags(WriteFlags flags) const;
};

}  // namespace byre
