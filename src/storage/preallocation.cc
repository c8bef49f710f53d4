// SPDX-License-Identifier: Apache-2.0
#include "storage/preallocation.h"

#include <fmt/format.h>

#include <cerrno>

#include "byre/error.h"

namespace byre::storage {

void check_file_preallocation(const BlockDevice& file, uint64_t new_size,
                              Preallocation preallocation) {
  if (preallocation == Preallocation::kMetadata) {
    const char* const mode = preallocation_name(preallocation);
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "file-preallocation-unsupported",
                          .field = "preallocation",
                          .text = mode,
                          .file = file.filename()},
                fmt::format("preallocation is {}, but a plain file has no metadata", mode));
  }
  if (new_size < file.size() && preallocation != Preallocation::kOff) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "file-shrink-with-preallocation",
                          .field = "size",
                          .value = new_size,
                          .bound = file.size(),
                          .file = file.filename()},
                fmt::format("the new size is {}, less than {}, and preallocation is only for "
                            "growing",
                            new_size, file.size()));
  }
}

}  // namespace byre::storage
