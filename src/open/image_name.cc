// SPDX-License-Identifier: Apache-2.0
#include "open/image_name.h"

namespace byre::open {

namespace {

constexpr std::string_view kFilePrefix = "file:";

std::string_view without_file_prefix(std::string_view name) {
  return name.starts_with(kFilePrefix) ? name.substr(kFilePrefix.size()) : name;
}

}  // namespace

std::optional<std::string_view> protocol_of(std::string_view name) {
  const size_t end = name.find_first_of(":/");
  if (end == std::string_view::npos || name[end] != ':') return std::nullopt;
  return name.substr(0, end);
}

std::string resolve_relative(const std::string& image_filename, const std::string& name) {
  const std::string_view path = without_file_prefix(name);
  if (path.empty() || path.front() == '/') return std::string(path);
  if (protocol_of(path) && path.size() == name.size()) return name;
  const std::string_view image = without_file_prefix(image_filename);
  const size_t slash = image.rfind('/');
  if (slash == std::string_view::npos) {
    // A colon after "file:" is part of the file's name.
    return std::string(protocol_of(path) ? "./" : "").append(path);
  }
  return std::string(image.substr(0, slash + 1)).append(path);
}

}  // namespace byre::open
