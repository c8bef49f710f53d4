// SPDX-License-Identifier: Apache-2.0
#include "storage/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "byre/error.h"
#include "storage/text_file.h"

namespace byre::storage {

namespace {

constexpr off_t kHeldBase = 100;
constexpr off_t kUnsharedBase = 200;
constexpr std::array<const char*, 4> kPermissionNames = {"consistent read", "write",
                                                         "write unchanged", "resize"};

struct flock one_byte(short type, off_t byte) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

int lock_call(int fd, int command, struct flock* lock) {
  while (fcntl(fd, command, lock) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

int set_byte(int fd, short type, off_t byte) {
  struct flock lock = one_byte(type, byte);
  return lock_call(fd, F_OFD_SETLK, &lock);
}

// Whether another process holds a lock on the byte.
bool is_locked_by_others(int fd, off_t byte) {
  struct flock lock = one_byte(F_WRLCK, byte);
  return lock_call(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

// Sets or clears the bytes of `bits`; returns the bits that it has changed in *done, and an errno.
int set_bytes(int fd, short type, off_t base, uint8_t bits, uint8_t* done) {
  for (unsigned bit = 0; bit < kPermissionNames.size(); ++bit) {
    if ((bits >> bit & 1) == 0) continue;
    const int error = set_byte(fd, type, base + bit);
    if (error != 0) return error;
    *done = static_cast<uint8_t>(*done | 1u << bit);
  }
  return 0;
}

void unset(int fd, LockPermissions permissions) {
  uint8_t ignored = 0;
  set_bytes(fd, F_UNLCK, kHeldBase, permissions.held, &ignored);
  set_bytes(fd, F_UNLCK, kUnsharedBase, permissions.unshared, &ignored);
}

std::string held_by(int fd, const std::string& filename, off_t byte) {
  const auto place = static_cast<uint64_t>(byte);
  const std::string holders = lock_holders(fd, place, place);
  return holders.empty() ? "" : fmt::format("'{}' is held by {}", filename, holders);
}

Error conflict(int fd, const std::string& filename, off_t byte, bool is_shared, unsigned bit) {
  const char* const permission = kPermissionNames[bit];
  const ErrorData data{
      .code = is_shared ? Literal("file-permission-in-use") : Literal("file-permission-refused"),
      .offset = static_cast<uint64_t>(byte),
      .name = permission,
      .file = filename};
  const std::string sentence =
      is_shared ? fmt::format(
                      "another process uses its permission \"{}\", which would have to be "
                      "unused while the file is open here",
                      permission)
                : fmt::format("another process, which has it open, excludes the permission \"{}\"",
                              permission);
  return Error(ErrorKind::kLocked, EAGAIN, data, sentence).with_hint(held_by(fd, filename, byte));
}

std::optional<Error> find_conflict(int fd, const std::string& filename, LockPermissions wanted) {
  for (const bool is_shared : {false, true}) {
    const off_t base = is_shared ? kHeldBase : kUnsharedBase;
    const uint8_t bits = is_shared ? wanted.unshared : wanted.held;
    for (unsigned bit = 0; bit < kPermissionNames.size(); ++bit) {
      if ((bits >> bit & 1) != 0 && is_locked_by_others(fd, base + bit)) {
        return conflict(fd, filename, base + bit, is_shared, bit);
      }
    }
  }
  return std::nullopt;
}

constexpr size_t kDescriptorTextMax = 1 << 20;  // a line per lock
constexpr size_t kNameMax = 64;                 // the kernel keeps 15 bytes of most

// The process may have ended, or belong to another user.
std::string text_or_nothing(const std::filesystem::path& path, size_t size_max) {
  try {
    return read_text_file(path, size_max);
  } catch (const Error&) {
    return {};
  }
}

// Removes the first line from `text`; returns it without its line end.
std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(text.size(), line.size() + 1));
  return line;
}

// "lock:\t1: OFDLCK  ADVISORY  READ -1 fe:00:5327917 100 101" in /proc/PID/fdinfo/N: whether its
// range, the last two fields, overlaps [first, last].
bool line_touches(std::string_view line, uint64_t first, uint64_t last) {
  if (!line.starts_with("lock:")) return false;
  const size_t end_at = line.rfind(' ');
  if (end_at == std::string_view::npos || end_at == 0) return false;
  const size_t start_at = line.rfind(' ', end_at - 1);
  if (start_at == std::string_view::npos) return false;
  const std::string_view start_word = line.substr(start_at + 1, end_at - start_at - 1);
  const std::string_view end_word = line.substr(end_at + 1);
  uint64_t start = 0;
  uint64_t end = UINT64_MAX;
  std::from_chars(start_word.data(), start_word.data() + start_word.size(), start);
  if (end_word != "EOF") std::from_chars(end_word.data(), end_word.data() + end_word.size(), end);
  return start <= last && end >= first;
}

bool descriptor_holds(const std::filesystem::path& process, const std::string& number,
                      uint64_t first, uint64_t last) {
  const std::string info = text_or_nothing(process / "fdinfo" / number, kDescriptorTextMax);
  std::string_view rest = info;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (line_touches(line, first, last)) return true;
  }
  return false;
}

bool process_holds(const std::filesystem::path& process, const struct stat& file, int own_fd,
                   uint64_t first, uint64_t last) {
  const bool is_self = process.filename() == std::to_string(getpid());
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(process / "fd", error)) {
    const std::string number = entry.path().filename();
    if (is_self && number == std::to_string(own_fd)) continue;
    struct stat other{};
    if (stat(entry.path().c_str(), &other) != 0) continue;
    if (other.st_dev != file.st_dev || other.st_ino != file.st_ino) continue;
    if (descriptor_holds(process, number, first, last)) return true;
  }
  return false;
}

}  // namespace

std::string lock_holders(int fd, uint64_t first, uint64_t last) {
  struct stat file{};
  if (fstat(fd, &file) != 0) return {};
  std::string result;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string number = entry.path().filename();
    if (!std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; })) {
      continue;
    }
    if (!process_holds(entry.path(), file, fd, first, last)) continue;
    const std::string comm = text_or_nothing(entry.path() / "comm", kNameMax);
    std::string_view rest = comm;
    const std::string_view name = take_line(rest);
    if (!result.empty()) result += ", ";
    result += fmt::format("'{}' (process {})", name, number);
  }
  return result;
}

void change_lock(int fd, const std::string& filename, LockPermissions now, LockPermissions wanted,
                 bool required) {
  if (now == wanted) return;
  LockPermissions added;
  int error =
      set_bytes(fd, F_RDLCK, kHeldBase, static_cast<uint8_t>(wanted.held & ~now.held), &added.held);
  if (error == 0) {
    error = set_bytes(fd, F_RDLCK, kUnsharedBase,
                      static_cast<uint8_t>(wanted.unshared & ~now.unshared), &added.unshared);
  }
  if (error != 0) {
    unset(fd, added);
    // A file system or a kernel without such locks: QEMU continues without them, and so does byre.
    const bool is_refusal = error != EAGAIN && error != EACCES;
    if (is_refusal && !required) return;
    // The first byte that could not be locked.
    const auto held = static_cast<uint8_t>(wanted.held & ~now.held & ~added.held);
    const auto unshared = static_cast<uint8_t>(wanted.unshared & ~now.unshared);
    const off_t byte =
        held != 0
            ? kHeldBase + std::countr_zero(held)
            : kUnsharedBase + std::countr_zero(static_cast<uint8_t>(unshared & ~added.unshared));
    const auto place = static_cast<uint64_t>(byte);
    if (is_refusal) {
      throw Error(Error::kind_of(error), error,
                  ErrorData{.code = "file-locks-unsupported", .offset = place, .file = filename},
                  fmt::format("byte {} cannot be locked: {}", byte, errno_text(error)));
    }
    throw Error(ErrorKind::kLocked, EAGAIN,
                ErrorData{.code = "file-locked-exclusively", .offset = place, .file = filename},
                fmt::format("another process has an exclusive lock on byte {}, which is not one of "
                            "the locks of image files",
                            byte))
        .with_hint(held_by(fd, filename, byte));
  }
  if (std::optional<Error> found = find_conflict(fd, filename, wanted)) {
    unset(fd, added);
    throw std::move(*found);
  }
  unset(fd, {static_cast<uint8_t>(now.held & ~wanted.held),
             static_cast<uint8_t>(now.unshared & ~wanted.unshared)});
}

}  // namespace byre::storage
