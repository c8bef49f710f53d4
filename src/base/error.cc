// SPDX-License-Identifier: Apache-2.0
#include "byre/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace byre {

Error::Error(ErrorKind kind, int errno_value, std::string message, std::string hint)
    : kind_(kind),
      errno_value_(errno_value == 0 ? EIO : errno_value),
      message_(std::move(message)),
      hint_(std::move(hint)) {}

Error Error::from_errno(int errno_value, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += errno_text(errno_value);
  return Error(kind_of(errno_value), errno_value, std::move(message));
}

ErrorKind Error::kind_of(int errno_value) {
  switch (errno_value) {
    case EINVAL:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
      return ErrorKind::kInvalidArgument;
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return ErrorKind::kNotFound;
    case EEXIST:
      return ErrorKind::kExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::kPermission;
    case EAGAIN:
    case EBUSY:
    case ETXTBSY:
      return ErrorKind::kLocked;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorKind::kNoSpace;
    case ENOTSUP:
    case ENOSYS:
      return ErrorKind::kUnsupported;
    case ECANCELED:
    case EINTR:
      return ErrorKind::kCancelled;
    case ENOMEM:
      return ErrorKind::kNoMemory;
    default:
      return ErrorKind::kIo;
  }
}

Error Error::with_prefix(std::string_view prefix) const {
  Error error = *this;
  error.message_ = std::string(prefix) + ": " + message_;
  return error;
}

Error Error::with_hint(std::string hint) const {
  Error error = *this;
  error.hint_ = std::move(hint);
  return error;
}

Error Error::with_more(std::string message) const {
  Error error = *this;
  error.more_.push_back(std::move(message));
  return error;
}

std::string errno_text(int errno_value) {
  char space[128];
  return strerror_r(errno_value, space, sizeof space);
}

}  // namespace byre
