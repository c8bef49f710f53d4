// SPDX-License-Identifier: Apache-2.0
#include "block/request_policy.h"

#include <cerrno>

#include "byre/error.h"

namespace byre {

void RequestPolicy::validate() const {
  if (detect_zeroes == DetectZeroes::kUnmap && discard != DiscardPolicy::kUnmap) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "device-detect-zeroes-without-discard",
                          .field = "detect-zeroes",
                          .text = "unmap"},
                "detect-zeroes is unmap, which requires discard=unmap");
  }
}

WriteFlags RequestPolicy::zeroes_flags(WriteFlags flags) const {
  return ignores_discards() ? without_flag(flags, WriteFlags::kMayUnmap) : flags;
}

WriteFlags RequestPolicy::detected_flags(WriteFlags flags) const {
  const WriteFlags plain = without_flag(flags, WriteFlags::kCompressed);
  return detect_zeroes == DetectZeroes::kUnmap ? plain | WriteFlags::kMayUnmap : plain;
}

}  // namespace byre
