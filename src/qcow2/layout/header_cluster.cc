// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/header_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "base/assert.h"
#include "qcow2/layout/text.h"

namespace byre::qcow2::layout {
namespace {

std::string parse_backing_file_name(ConstBytes first_cluster, const Header& header) {
  if (!header.has_backing_file()) return {};
  // Header::parse has checked that the offset is in the first cluster.
  const uint64_t room = header.cluster_size() - header.backing_file_offset;
  const uint64_t size = header.backing_file_size;
  if (size > std::min<uint64_t>(limits::kBackingFileNameSizeMax, room)) {
    throw Error(ErrorKind::kCorrupt, EINVAL,
                ErrorData{.code = "qcow2-backing-name-too-long",
                          .field = "backing_file_size",
                          .value = size,
                          .bound = limits::kBackingFileNameSizeMax},
                fmt::format("backing_file_size is {}, backing_file_offset {}; at most {} bytes, "
                            "inside the first cluster, are allowed",
                            size, header.backing_file_offset, limits::kBackingFileNameSizeMax));
  }
  return text_of(first_cluster.subspan(header.backing_file_offset, size));
}

}  // namespace

HeaderCluster HeaderCluster::parse(ConstBytes first_cluster, HeaderUse use) {
  HeaderCluster cluster;
  cluster.header = Header::parse(first_cluster, use);
  cluster.extensions = Extensions::parse(first_cluster, cluster.header);
  cluster.backing_file_name = parse_backing_file_name(first_cluster, cluster.header);
  return cluster;
}

uint64_t HeaderCluster::extensions_end() const {
  const uint64_t begin = header.version == 2 ? limits::kHeaderSizeV2 : header.header_length;
  return begin + extensions.encode().size();
}

std::vector<uint8_t> HeaderCluster::encode(uint64_t name_offset_min) {
  BYRE_ASSERT(backing_file_name.size() <= limits::kBackingFileNameSizeMax);
  const std::vector<uint8_t> extension_bytes = extensions.encode();
  const uint64_t name_offset = std::max(extensions_end(), name_offset_min);
  const uint64_t end = name_offset + backing_file_name.size();
  if (end > header.cluster_size()) {
    throw Error(
        ErrorKind::kNoSpace, ENOSPC,
        ErrorData{.code = "qcow2-header-too-large", .value = end, .bound = header.cluster_size()},
        fmt::format("header, header extensions and backing file name take {} bytes, the "
                    "first cluster has {}",
                    end, header.cluster_size()));
  }
  header.backing_file_offset = backing_file_name.empty() ? 0 : name_offset;
  header.backing_file_size = static_cast<uint32_t>(backing_file_name.size());
  std::vector<uint8_t> bytes = header.encode();
  bytes.reserve(header.cluster_size());
  bytes.insert(bytes.end(), extension_bytes.begin(), extension_bytes.end());
  bytes.resize(header.cluster_size());
  if (!backing_file_name.empty()) {
    std::copy(backing_file_name.begin(), backing_file_name.end(),
              bytes.begin() + static_cast<ptrdiff_t>(name_offset));
  }
  return bytes;
}

}  // namespace byre::qcow2::layout
