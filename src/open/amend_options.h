// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "open/creation_options.h"

namespace byre::open {

struct Driver;

// Properties that an existing image is to get. The texts have been checked for their kind only.
struct AmendOptions {
  std::optional<uint64_t> size;
  std::optional<std::string> compat;
  std::optional<std::string> backing_file;
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  std::optional<bool> data_file_raw;
  std::optional<bool> lazy_refcounts;
  std::optional<uint64_t> refcount_bits;
  bool has_encryption = false;  // options that only encrypted images have

  // Names and values, in order; the last one counts. Throws Error with QEMU's message for a name
  // that the format does not have, or has only for new images, and for a text of the wrong kind.
  static AmendOptions parse(const std::vector<std::pair<std::string, std::string>>& list);
};

// Throws Error with QEMU's message if images of the format have no such properties.
void check_amendable(const std::string& format);
// The same for a format that may not exist.
std::span<const OptionDescription> amend_options_of(const std::string& format);

}  // namespace byre::open
