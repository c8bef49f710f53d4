// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "byre/error.h"
#include "qcow2/layout/geometry.h"
#include "qcow2/layout/header.h"

// Sample headers and helpers for expected errors, shared by the tests in this folder.
namespace byre::qcow2::layout {

// A valid header of a 1 MiB disk.
inline Header sample_header(uint32_t version = 3, uint32_t cluster_bits = 16) {
  Header header;
  header.version = version;
  header.cluster_bits = cluster_bits;
  header.size = 1 << 20;
  header.l1_size = static_cast<uint32_t>(Geometry(header).l1_entries_for(header.size));
  header.l1_table_offset = HostOffset(3 * header.cluster_size());
  header.refcount_table_offset = HostOffset(header.cluster_size());
  header.refcount_table_clusters = 1;
  if (version == 2) header.header_length = limits::kHeaderSizeV2;
  if (version == 3) header.additional_fields.resize(limits::kHeaderSizeWritten - 105);
  return header;
}

// `header` as the first cluster of a file.
inline std::vector<uint8_t> first_cluster(const Header& header) {
  std::vector<uint8_t> bytes = header.encode();
  bytes.resize(std::max<size_t>(bytes.size(), header.cluster_size()));
  return bytes;
}

inline Geometry sample_geometry(uint32_t cluster_bits, bool extended_l2 = false,
                                bool external_data_file = false, uint32_t version = 3,
                                uint32_t refcount_order = 4) {
  Header header;
  header.version = version;
  header.cluster_bits = cluster_bits;
  header.refcount_order = refcount_order;
  if (extended_l2) header.incompatible_features |= incompatible::kExtendedL2;
  if (external_data_file) header.incompatible_features |= incompatible::kExternalDataFile;
  return Geometry(header);
}

// What an Error says; equal to its code, and to "" if nothing was thrown.
struct Refusal {
  ErrorData data;
  ErrorKind kind = ErrorKind::kIo;
  int errno_value = 0;
  std::string sentence;

  bool operator==(std::string_view code) const { return data.code == code; }
  bool operator==(const Refusal& other) const {
    return data.code == other.data.code && data.name == other.data.name;
  }
  friend void PrintTo(const Refusal& refusal, std::ostream* out) {
    *out << '"' << refusal.data.code.view() << "\": " << refusal.sentence;
  }
};

// `call` does not throw, or an Error with a code, whose sentence has what its data has.
template <class Call>
Refusal refusal(Call call) {
  try {
    call();
  } catch (const Error& error) {
    const ErrorData& data = error.data();
    const auto has = [&](std::string_view part) {
      EXPECT_NE(error.sentence().find(part), std::string::npos) << error.sentence() << ": " << part;
    };
    EXPECT_NE(data.code, "") << error.message();
    EXPECT_EQ(error.message(), error.sentence());
    EXPECT_EQ(error.hint(), "");
    has(data.field);
    has(data.name);
    for (const std::optional<uint64_t>& number : {data.value, data.index, data.offset}) {
      if (!number || error.sentence().find(fmt::format("{:x}", *number)) != std::string::npos)
        continue;
      has(std::to_string(*number));
    }
    return {data, error.kind(), error.errno_value(), error.sentence()};
  }
  return {};
}

}  // namespace byre::qcow2::layout
