// SPDX-License-Identifier: Apache-2.0
#include "byre/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace byre {

Error::Error(ErrorKind kind, int errno_value, std::string message, std::string hint)
    : Error(std::make_shared<const Contents>(Contents{.kind = kind,
                                                      .errno_value = errno_value,
                                                      .sentence = std::move(message),
                                                      .hint = std::move(hint)}
                                                 .composed())) {}

Error::Error(ErrorKind kind, int errno_value, ErrorData data, std::string sentence)
    : Error(std::make_shared<const Contents>(Contents{.kind = kind,
                                                      .errno_value = errno_value,
                                                      .data = std::move(data),
                                                      .sentence = std::move(sentence)}
                                                 .composed())) {}

Error Error::from_errno(int errno_value, std::string_view what) {
  std::string message(what);
  message += ": ";
  message += errno_text(errno_value);
  return Error(kind_of(errno_value), errno_value, std::move(message));
}

Error Error::from_errno(int errno_value, std::string_view what, ErrorData data) {
  return Error(kind_of(errno_value), errno_value, std::move(data), errno_text(errno_value))
      .with_prefix(what);
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

Error::Contents Error::Contents::composed() && {
  if (errno_value == 0) errno_value = EIO;
  message.clear();
  message += prefix;
  const std::string quoted = "'" + data.file + "'";
  if (!data.file.empty() && prefix.find(quoted) == std::string::npos) message += quoted + ": ";
  message += sentence;
  message += suffix;
  return std::move(*this);
}

template <class Change>
Error Error::changed(Change change) const {
  Contents contents = *contents_;
  change(contents);
  return Error(std::make_shared<const Contents>(std::move(contents).composed()));
}

Error Error::with_prefix(std::string_view prefix) const {
  return changed(
      [prefix](Contents& contents) { contents.prefix.insert(0, std::string(prefix) + ": "); });
}

Error Error::without_prefix(std::string_view prefix) const {
  return changed([prefix](Contents& contents) {
    // A message that was made as one text begins with it itself.
    std::string& text = contents.prefix.empty() ? contents.sentence : contents.prefix;
    const std::string start = std::string(prefix) + ": ";
    if (text.starts_with(start)) text.erase(0, start.size());
  });
}

Error Error::with_suffix(std::string_view suffix) const {
  return changed([suffix](Contents& contents) { contents.suffix += suffix; });
}

Error Error::with_file(std::string file) const {
  return changed([&](Contents& contents) { contents.data.file = std::move(file); });
}

Error Error::with_hint(std::string hint) const {
  return changed([&](Contents& contents) { contents.hint = std::move(hint); });
}

Error Error::with_more(const Error& other) const {
  return changed([&](Contents& contents) { contents.more.push_back(other); });
}

std::string errno_text(int errno_value) {
  char space[128];
  return strerror_r(errno_value, space, sizeof space);
}

}  // namespace byre
