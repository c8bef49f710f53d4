// SPDX-License-Identifier: Apache-2.0
#include "qcow2/layout/header_rewrite.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "base/units.h"

namespace byre::qcow2::layout {
namespace {

struct Part {
  uint64_t begin = 0;
  uint64_t end = 0;
};

// A first cluster, and the parts of it that a reader looks at.
struct Arrangement {
  std::vector<uint8_t> bytes;
  uint64_t extensions_end = 0;
  Part name;

  std::array<Part, 2> parts() const { return {Part{0, extensions_end}, name}; }
  uint64_t end() const { return std::max(extensions_end, name.end); }
};

Part name_of(const Header& header) {
  if (!header.has_backing_file()) return {};
  return {header.backing_file_offset, header.backing_file_offset + header.backing_file_size};
}

// As the file has it, in whatever order.
Arrangement found(ConstBytes first_cluster, const Header& header) {
  constexpr uint64_t kExtensionHeaderSize = 8;
  Arrangement found{.bytes = {first_cluster.begin(), first_cluster.end()}, .name = name_of(header)};
  uint64_t end = header.header_length;
  ExtensionWalker walker(first_cluster, header);
  while (const std::optional<RawExtension> extension = walker.next()) {
    end += kExtensionHeaderSize + align_up(extension->data.size(), 8);
  }
  found.extensions_end = std::min(end + kExtensionHeaderSize, header.cluster_size());
  return found;
}

// nullopt: there is no room.
std::optional<Arrangement> arrange(HeaderCluster content, uint64_t name_offset) {
  if (name_offset + content.backing_file_name.size() > content.header.cluster_size()) {
    return std::nullopt;
  }
  Arrangement made;
  made.bytes = content.encode(name_offset);
  made.extensions_end = content.extensions_end();
  made.name = name_of(content.header);
  return made;
}

// Whether a power cut during the write of `to` leaves one of the two: what both look at is equal,
// apart from the first sector, which comes last.
bool is_reachable(const Arrangement& from, const Arrangement& to) {
  for (const Part& a : from.parts()) {
    for (const Part& b : to.parts()) {
      const uint64_t begin = std::max({a.begin, b.begin, kSectorSize});
      const uint64_t end = std::min(a.end, b.end);
      if (begin >= end) continue;
      const auto at = [](const Arrangement& of, uint64_t offset) {
        return of.bytes.begin() + static_cast<ptrdiff_t>(offset);
      };
      if (!std::equal(at(from, begin), at(from, end), at(to, begin))) return false;
    }
  }
  return true;
}

// Searches for the shortest way from one arrangement to another.
class Planner {
 public:
  Planner(Arrangement now, HeaderCluster old, HeaderCluster target)
      : contents_{old, without_names(old), without_names(target), target} {
    nodes_.push_back({.arrangement = std::move(now)});
  }

  // The arrangements after the present one, the last of which is the target's; empty: there is no
  // way.
  std::vector<Arrangement> path() {
    for (size_t from = 0; from < nodes_.size() && nodes_.size() < kNodesMax; ++from) {
      for (size_t content = contents_.size(); content-- > nodes_[from].content;) {
        add_neighbours(from, content);
        if (nodes_.back().content == kTarget) return path_to_last();
      }
    }
    return {};
  }

 private:
  static constexpr size_t kTarget = 3;
  static constexpr size_t kNodesMax = 100;

  struct Node {
    Arrangement arrangement;
    size_t content = 0;
    size_t parent = 0;
  };

  static HeaderCluster without_names(HeaderCluster content) {
    content.extensions.feature_names.reset();
    return content;
  }

  // The places that the name can have after the arrangement `from`.
  void add_neighbours(size_t from, size_t content) {
    const Arrangement& now = nodes_[from].arrangement;
    const uint64_t min = contents_[content].extensions_end();
    const uint64_t target_end = contents_[kTarget].extensions_end();
    const uint64_t offsets[] = {min, now.name.begin, std::max(now.extensions_end, target_end),
                                std::max(now.end(), target_end)};
    for (const uint64_t offset : offsets) {
      std::optional<Arrangement> made = arrange(contents_[content], std::max(offset, min));
      const bool is_new = made && is_reachable(nodes_[from].arrangement, *made) &&
                          !has_node(content, made->name.begin);
      if (!is_new) continue;
      nodes_.push_back({std::move(*made), content, from});
      if (content == kTarget) return;
    }
  }

  bool has_node(size_t content, uint64_t name_begin) const {
    return std::ranges::any_of(nodes_.begin() + 1, nodes_.end(), [&](const Node& node) {
      return node.content == content && node.arrangement.name.begin == name_begin;
    });
  }

  std::vector<Arrangement> path_to_last() {
    std::vector<Arrangement> path;
    for (size_t i = nodes_.size() - 1; i != 0; i = nodes_[i].parent) {
      path.insert(path.begin(), std::move(nodes_[i].arrangement));
    }
    return path;
  }

  // In the order in which they may follow one another.
  const std::array<HeaderCluster, kTarget + 1> contents_;
  std::vector<Node> nodes_;
};

// Past the first sector, what was there stays unless it is needed.
std::vector<uint8_t> put(const Arrangement& arrangement, std::vector<uint8_t> bytes) {
  const auto copy = [&](uint64_t begin, uint64_t end) {
    if (begin >= end) return;
    std::copy(arrangement.bytes.begin() + static_cast<ptrdiff_t>(begin),
              arrangement.bytes.begin() + static_cast<ptrdiff_t>(end),
              bytes.begin() + static_cast<ptrdiff_t>(begin));
  };
  copy(0, kSectorSize);
  for (const Part& part : arrangement.parts()) copy(std::max(part.begin, kSectorSize), part.end);
  return bytes;
}

void leave_out_names_if_too_long(HeaderCluster& target) {
  const uint64_t end = target.extensions_end() + target.backing_file_name.size();
  if (end > target.header.cluster_size()) target.extensions.feature_names.reset();
}

}  // namespace

HeaderRewrite HeaderRewrite::plan(ConstBytes first_cluster, HeaderCluster target) {
  leave_out_names_if_too_long(target);
  std::vector<uint8_t> canonical = HeaderCluster(target).encode();
  HeaderCluster old = HeaderCluster::parse(first_cluster, {.for_check = true});
  const Arrangement now = found(first_cluster, old.header);
  Planner planner(now, std::move(old), std::move(target));
  std::vector<Arrangement> path = planner.path();
  HeaderRewrite rewrite;
  if (path.empty()) {
    rewrite.is_atomic = false;
    rewrite.steps.push_back(canonical);
    rewrite.cleared = std::move(canonical);
    return rewrite;
  }
  std::vector<uint8_t> bytes = now.bytes;
  for (const Arrangement& arrangement : path) {
    bytes = put(arrangement, std::move(bytes));
    rewrite.steps.push_back(bytes);
  }
  rewrite.cleared = std::move(path.back().bytes);
  return rewrite;
}

}  // namespace byre::qcow2::layout
