// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <string>
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

// The message of the Error that `call` throws, which must have a hint; "" if it does not throw.
template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_FALSE(error.hint().empty()) << error.message();
    return error.message();
  }
  return "";
}

}  // namespace byre::qcow2::layout
