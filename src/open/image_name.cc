// SPDX-License-Identifier: Apache-2.0
#include "open/image_name.h"

namespace byre::open {

std::optional<std::string_view> protocol_of(std::string_view name) {
  const size_t end = name.find_first_of(":/");
  if (end == std::string_view::npos || name[end] != ':') return std::nullopt;
  return name.substr(0, end);
}

std::string resolve_relative(const std::string& image_filename, const std::string& name) {
  if (protocol_of(name) || name.starts_with('/')) return name;
  const size_t slash = image_filename.rfind('/');
  if (slash == std::string::npos) return name;
  return image_filename.substr(0, slash + 1) + name;
}

}  // namespace byre::open
