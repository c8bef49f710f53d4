// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace byre {

// The kind of failure, for callers that branch on it. Finer than errno where byre knows more
// (kLocked, kCorrupt), coarser where no caller would act on the difference.
enum class ErrorKind {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // no such file, snapshot, bitmap, ...
  kExists,           // it already exists
  kPermission,       // the host refuses access, or the image is open read-only
  kLocked,           // another process holds the image
  kIo,               // the host failed: EIO, a short transfer, ...
  kNoSpace,          // ENOSPC, EDQUOT, EFBIG
  kCorrupt,          // the bytes of an image break its format's rules
  kUnsupported,      // legal, but byre does not do it
  kCancelled,        // the caller cancelled the operation
  kNoMemory,         // out of memory, or an allocation would exceed its bound
};

// The one exception type of byre. `message` is a sentence without a final full stop, in the user's
// terms: what failed, on which file, and why; where QEMU has the same refusal, the message is
// QEMU's. `hint` may add what QEMU's message leaves out: the field, the value, what to do. Copying
// is noexcept only as long as memory is available; errors are thrown by value and caught by
// reference.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, int errno_value, std::string message, std::string hint = {});

  // "<what>: <strerror(errno_value)>", kind derived from errno_value (positive).
  static Error from_errno(int errno_value, std::string_view what);
  // The kind for a positive errno value; kIo where nothing more is known.
  static ErrorKind kind_of(int errno_value);

  ErrorKind kind() const { return kind_; }
  // A positive errno value for the C ABI and for exit codes; never 0.
  int errno_value() const { return errno_value_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  // Other failures with the same cause, as further messages.
  const std::vector<std::string>& more() const { return more_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // The same error with context from the caller: "<prefix>: <message>".
  Error with_prefix(std::string_view prefix) const;
  Error with_hint(std::string hint) const;
  Error with_more(std::string message) const;

 private:
  ErrorKind kind_;
  int errno_value_;
  std::string message_;
  std::string hint_;
  std::vector<std::string> more_;
};

// The text of a positive errno value, like strerror, but thread-safe.
std::string errno_text(int errno_value);

}  // namespace byre
