// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/features.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/assert.h"
#include "qcow2/layout/limits.h"

namespace byre::qcow2::layout {

const std::vector<FeatureName>& known_feature_names() {
  static const std::vector<FeatureName> names = {
      {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
      {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
      {2, 0, "bitmaps"},          {2, 1, "raw external data"},
  };
  return names;
}

std::vector<FeatureName> parse_feature_names(ConstBytes data) {
  std::vector<FeatureName> names;
  names.reserve(data.size() / limits::kFeatureNameEntrySize + 1);
  while (data.size() >= 2) {
    const ConstBytes entry =
        data.first(std::min<size_t>(data.size(), limits::kFeatureNameEntrySize));
    const auto name = entry.subspan(2);
    const auto end = std::find(name.begin(), name.end(), 0);
    names.push_back({entry[0], entry[1], std::string(name.begin(), end)});
    data = data.subspan(entry.size());
  }
  return names;
}

std::vector<uint8_t> encode_feature_names(const std::vector<FeatureName>& names) {
  std::vector<uint8_t> data(names.size() * limits::kFeatureNameEntrySize);
  uint8_t* entry = data.data();
  for (const FeatureName& name : names) {
    BYRE_ASSERT(name.name.size() <= limits::kFeatureNameSizeMax);
    entry[0] = name.type;
    entry[1] = name.bit;
    std::copy(name.name.begin(), name.name.end(), entry + 2);
    entry += limits::kFeatureNameEntrySize;
  }
  return data;
}

std::string feature_list(uint64_t unknown_incompatible, const std::vector<FeatureName>& names) {
  std::string list;
  const auto add = [&list](const std::string& text) {
    if (!list.empty()) list += ", ";
    list += text;
  };
  uint64_t rest = unknown_incompatible;
  for (const FeatureName& name : names) {
    if (name.name.empty()) break;  // QEMU treats an empty name as the end of the table
    const bool is_incompatible = name.type == static_cast<uint8_t>(FeatureType::kIncompatible);
    if (!is_incompatible || name.bit > 63) continue;
    const uint64_t mask = uint64_t{1} << name.bit;
    if (!(rest & mask)) continue;
    add(name.name);
    rest &= ~mask;
  }
  if (rest != 0) add(fmt::format("Unknown incompatible feature: {:x}", rest));
  return list;
}

}  // namespace byre::qcow2::layout
