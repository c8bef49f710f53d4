// SPDX-License-Identifier: Apache-2.0
#include "filter/blkdebug_rule.h"

#include <utility>

namespace byre::filter {

std::optional<RequestKind> parse_request_kind(std::string_view name) {
  constexpr std::pair<std::string_view, RequestKind> kNames[] = {
      {"read", kReadRequest},
      {"write", kWriteRequest},
      {"write-zeroes", kWriteZeroesRequest},
      {"discard", kDiscardRequest},
      {"flush", kFlushRequest},
      {"block-status", kBlockStatusRequest}};
  for (const auto& [each, kind] : kNames) {
    if (each == name) return kind;
  }
  return std::nullopt;
}

}  // namespace byre::filter
