// SPDX-License-Identifier: Apache-2.0
#include "cli/io/payload.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "byre/error.h"
#include "cli/io/command_line.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void refuse(std::string text) {
  throw Refusal{.text = std::move(text), .on_stderr = true};
}

}  // namespace

Buffer make_buffer(uint64_t length) {
  return Buffer(std::max<uint64_t>(length, 1));
}

Buffer pattern_payload(uint64_t length, uint8_t pattern) {
  Buffer payload = make_buffer(length);
  std::memset(payload.data(), pattern, payload.size());
  return payload;
}

Buffer file_payload(uint64_t length, const std::string& filename) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(filename.c_str(), "rb"), close);
  if (file == nullptr) refuse(filename + ": " + errno_text(errno));
  Buffer payload = make_buffer(length);
  errno = 0;
  const size_t count = std::fread(payload.data(), 1, payload.size(), file.get());
  if (std::ferror(file.get()) != 0) refuse(filename + ": " + errno_text(errno));
  if (count == 0) refuse(filename + ": file is empty");
  for (size_t done = count; done < payload.size();) {
    const size_t more = std::min(done, payload.size() - done);
    // What was copied so far is a whole number of copies of the file, so that it can be doubled.
    std::memcpy(payload.data() + done, payload.data(), more);
    done += more;
  }
  return payload;
}

bool is_all(ConstBytes bytes, uint8_t pattern) {
  if (bytes.empty()) return true;
  return bytes[0] == pattern && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace byre::cli::io
