// SPDX-License-Identifier: Apache-2.0
#include "codec/backends.h"

#include <cerrno>

namespace byre::codec {

Error no_memory_for(const char* what) {
  return Error(ErrorKind::kNoMemory, ENOMEM, ErrorData{.code = "codec-no-memory"},
               std::string("there is no memory for ") + what);
}

Error damaged_data(const std::string& reason) {
  return Error(ErrorKind::kCorrupt, EIO, ErrorData{.code = "codec-data-damaged"},
               "the compressed data is damaged: " + reason);
}

Error data_too_short(const char* reason) {
  return Error(ErrorKind::kCorrupt, EIO, ErrorData{.code = "codec-data-too-short"},
               std::string("the compressed data is too short: ") + reason);
}

}  // namespace byre::codec
