// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace byre {

// What kind of thing went wrong, for callers that decide by it. Finer than errno where byre knows
// more (kLocked, kCorrupt), coarser where nobody would act on the difference.
enum class ErrorKind {
  kInvalidArgument,  // the caller asked for something that makes no sense
  kNotFound,         // no such file, snapshot, bitmap, ...
  kExists,           // it is there already
  kPermission,       // the host refuses access, or the image is open read-only
  kLocked,           // another process holds the image
  kIo,               // the host failed: EIO, a short transfer, ...
  kNoSpace,          // ENOSPC, EDQUOT, EFBIG
  kCorrupt,          // the bytes of an image break its format's rules
  kUnsupported,      // legal, but byre does not do it
  kCancelled,        // the caller gave up
  kNoMemory,         // a bounded allocation would exceed its bound
};

// The one exception type of byre. `message` is a sentence without a final stop, in the user's
// words: what failed, on which file, why; where QEMU has the same refusal, the message is QEMU's.
// `hint` may add what QEMU's words leave out: the field, the value, what to do.
// Copying is noexcept in practice only if memory is there; errors are thrown by value, caught by
// reference.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, int errno_value, std::string message, std::string hint = {});

  // "<what>: <strerror(errno_value)>", kind derived from errno_value (positive).
  static Error from_errno(int errno_value, std::string_view what);
  // The kind that a positive errno value stands for; kIo where nothing more is known.
  static ErrorKind kind_of(int errno_value);

  ErrorKind kind() const { return kind_; }
  // A positive errno value for the C ABI and for exit codes; never 0.
  int errno_value() const { return errno_value_; }
  const std::string& message() const { return message_; }
  const std::string& hint() const { return hint_; }
  // What else failed for the same reason, as further messages.
  const std::vector<std::string>& more() const { return more_; }
  const char* what() const noexcept override { return message_.c_str(); }

  // The same error, told from further out: "<prefix>: <message>".
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

// The text of a positive errno value, as strerror gives it, without its thread trouble.
std::string errno_text(int errno_value);

}  // namespace byre
