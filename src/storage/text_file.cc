// SPDX-License-Identifier: Apache-2.0
#include "storage/text_file.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include "byre/error.h"

namespace byre::storage {

size_t read_front(const std::string& path, Bytes to) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "re"), close);
  if (!file) {
    throw Error::from_errno(errno, "Could not open '" + path + "'",
                            ErrorData{.code = "file-not-opened", .file = path});
  }
  const size_t length = std::fread(to.data(), 1, to.size(), file.get());
  if (std::ferror(file.get()) != 0) {
    throw Error::from_errno(errno, "Could not read from '" + path + "'",
                            ErrorData{.code = "file-read-failed", .file = path});
  }
  return length;
}

std::string read_text_file(const std::string& path, size_t size_max) {
  std::string text(size_max, '\0');
  text.resize(read_front(path, Bytes(reinterpret_cast<uint8_t*>(text.data()), size_max)));
  return text;
}

}  // namespace byre::storage
