// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
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

// A text that lives as long as the program: the compiler refuses others.
class Literal {
 public:
  constexpr Literal() = default;
  consteval Literal(const char* text) : text_(text) {}
  constexpr std::string_view view() const { return text_; }
  constexpr operator std::string_view() const { return text_; }
  constexpr bool empty() const { return text_.empty(); }
  template <class Text>
    requires std::convertible_to<const Text&, std::string_view>
  friend constexpr bool operator==(Literal literal, const Text& text) {
    return literal.text_ == std::string_view(text);
  }

 private:
  std::string_view text_;
};

// What is wrong, as data. All parts are optional.
struct ErrorData {
  // Names the rule that was broken, "qcow2-l1-table-offset-invalid", and does not change from one
  // version of byre to the next. Empty: there is only the message.
  Literal code;
  Literal field;                   // of a header, an entry or a request: "l1_table_offset"
  std::optional<uint64_t> value;   // of the field
  std::optional<uint64_t> bound;   // what the value was compared with: a limit, a size
  std::optional<uint64_t> index;   // of the entry that has the field
  std::optional<uint64_t> offset;  // in the file, in bytes
  std::string text;                // of the field, if its value is a text
  std::string name;                // of a bitmap, a snapshot, an option, ...
  std::string file;
};

// The one exception type of byre.
//
// The message is a sentence without a final full stop: what is wrong, and where it helps, the field,
// its value and what was expected, "header_length is 40; version 3 has at least 104". Callers on the
// way up put text around it, "Could not open 'a.qcow2'"; sentence() is the part inside. QEMU's words
// for the same refusal are not here: the commands make them from data() (cli/qemu_text.h). Errors
// without a code, those of `open` and the commands, have QEMU's words as their message.
//
// `hint` may add what to do, or, for errors without a code, what QEMU's words leave out. Copies
// share their contents and do not throw. Errors are thrown by value and caught by reference.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, int errno_value, std::string message, std::string hint = {});
  Error(ErrorKind kind, int errno_value, ErrorData data, std::string sentence);
  // Also instead of moving: no Error is ever empty.
  Error(const Error&) noexcept = default;
  Error& operator=(const Error&) noexcept = default;

  // "<what>: <strerror(errno_value)>", kind derived from errno_value (positive).
  static Error from_errno(int errno_value, std::string_view what);
  // The same with data; `what` is the prefix.
  static Error from_errno(int errno_value, std::string_view what, ErrorData data);
  // The kind for a positive errno value; kIo where nothing more is known.
  static ErrorKind kind_of(int errno_value);

  ErrorKind kind() const { return contents_->kind; }
  // A positive errno value; never 0.
  int errno_value() const { return contents_->errno_value; }
  const ErrorData& data() const { return contents_->data; }
  // "<prefix>: '<file>': <sentence><suffix>", without what is empty, and without the file if the
  // prefix names it.
  const std::string& message() const { return contents_->message; }
  const char* what() const noexcept override { return contents_->message.c_str(); }
  const std::string& prefix() const { return contents_->prefix; }
  const std::string& sentence() const { return contents_->sentence; }
  const std::string& suffix() const { return contents_->suffix; }
  const std::string& hint() const { return contents_->hint; }
  // Other failures with the same cause.
  const std::vector<Error>& more() const { return contents_->more; }

  // The same error with context from the caller: "<prefix>: <message>", "<message><suffix>".
  Error with_prefix(std::string_view prefix) const;
  Error with_suffix(std::string_view suffix) const;
  // Without `prefix`, if the message begins with "<prefix>: ".
  Error without_prefix(std::string_view prefix) const;
  Error with_file(std::string file) const;
  Error with_hint(std::string hint) const;
  Error with_more(const Error& other) const;

 private:
  struct Contents {
    ErrorKind kind = ErrorKind::kIo;
    int errno_value = 0;
    ErrorData data;
    std::string prefix;
    std::string sentence;
    std::string suffix;
    std::string message;  // of all these
    std::string hint;
    std::vector<Error> more;

    // With the message.
    Contents composed() &&;
  };

  explicit Error(std::shared_ptr<const Contents> contents) : contents_(std::move(contents)) {}
  // A copy of the contents after `change`, with a new message.
  template <class Change>
  Error changed(Change change) const;

  std::shared_ptr<const Contents> contents_;
};

// The text of a positive errno value, like strerror, but thread-safe.
std::string errno_text(int errno_value);

}  // namespace byre
