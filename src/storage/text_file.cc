// SPDX-License-Identifier: Apache-2.0
#include "storage/text_file.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include "byre/error.h"

namespace byre::storage {

std::string read_text_file(const std::string& path, size_t size_max) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "re"), fclose);
  if (!file) throw Error::from_errno(errno, path);
  std::string text(size_max, '\0');
  text.resize(fread(text.data(), 1, size_max, file.get()));
  if (ferror(file.get()) != 0) throw Error::from_errno(errno, path);
  return text;
}

}  // namespace byre::storage
