// SPDX-License-Identifier: Apache-2.0
#include "cli/io/payload.h"

#include <algorithm>
#include <cstring>

#include "byre/error.h"
#include "cli/io/command_line.h"
#include "storage/text_file.h"

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
  Buffer payload = make_buffer(length);
  size_t count = 0;
  try {
    count = storage::read_front(filename, payload.bytes());
  } catch (const Error& error) {
    refuse(filename + ": " + errno_text(error.errno_value()));
  }
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
