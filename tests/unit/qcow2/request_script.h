// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "unit/qcow2/written_image.h"

// A fixed sequence of requests, for tests that make each of its writes fail in turn.
namespace byre::qcow2::test {

struct Request {
  enum class Kind { kWrite, kCompressed, kZeroes, kUnmap, kDiscard, kFlush } kind = Kind::kWrite;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t seed = 0;
};

inline std::vector<Request> make_script(const Layout& layout, uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  const uint64_t cluster_size = layout.create.cluster_size;
  const uint64_t disk_sectors = layout.create.size / 512;
  std::vector<Request> script;
  for (int i = 0; i < count; ++i) {
    Request request;
    request.seed = random();
    request.offset = random() % disk_sectors * 512;
    request.length = (1 + random() % (3 * cluster_size / 512)) * 512;
    const uint64_t op = random() % 100;
    if (op < 45) {
      request.kind = Request::Kind::kWrite;
    } else if (op < 65 && layout.compresses) {
      request.kind = Request::Kind::kCompressed;
      request.offset = align_down(request.offset, cluster_size);
      request.length = cluster_size;
    } else if (op < 72) {
      request.kind = Request::Kind::kZeroes;
    } else if (op < 80) {
      request.kind = Request::Kind::kUnmap;
    } else if (op < 88) {
      request.kind = Request::Kind::kDiscard;
    } else {
      request.kind = Request::Kind::kFlush;
    }
    request.length = std::min(request.length, layout.create.size - request.offset);
    script.push_back(request);
  }
  return script;
}

inline std::vector<uint8_t> bytes_of(const Request& request) {
  if (request.kind == Request::Kind::kWrite) {
    return pattern(request.offset, request.length, request.seed);
  }
  if (request.kind == Request::Kind::kCompressed) {
    return compressible(request.offset, request.length, request.seed);
  }
  return std::vector<uint8_t>(request.length);
}

inline Task<void> apply(BlockDevice* device, Request request) {
  const std::vector<uint8_t> bytes = bytes_of(request);
  const WriteBuffers from((ConstBytes(bytes)));
  switch (request.kind) {
    case Request::Kind::kWrite:
      co_await device->write(request.offset, from);
      break;
    case Request::Kind::kCompressed:
      co_await device->write(request.offset, from, WriteFlags::kCompressed);
      break;
    case Request::Kind::kZeroes:
      co_await device->write_zeroes(request.offset, request.length, WriteFlags::kNone);
      break;
    case Request::Kind::kUnmap:
      co_await device->write_zeroes(request.offset, request.length, WriteFlags::kMayUnmap);
      break;
    case Request::Kind::kDiscard:
      co_await device->discard(request.offset, request.length);
      break;
    case Request::Kind::kFlush:
      co_await device->flush();
      break;
  }
}

// The contents that each sector of the disk may have: what the last flush made durable, or anything
// written since.
class SectorModel {
 public:
  using Sector = std::vector<uint8_t>;

  explicit SectorModel(const Layout& layout) {
    Model start(layout);
    versions_.resize(start.size() / 512);
    unknown_.resize(versions_.size());
    for (size_t i = 0; i < versions_.size(); ++i) {
      const auto from = start.bytes().begin() + static_cast<ptrdiff_t>(i * 512);
      versions_[i].push_back(Sector(from, from + 512));
    }
  }

  // Call before a request is made: from now on its sectors may hold what it writes.
  void may_write(const Request& request) {
    const std::vector<uint8_t> bytes = bytes_of(request);
    for (uint64_t at = 0; at < request.length; at += 512) {
      const auto from = bytes.begin() + static_cast<ptrdiff_t>(at);
      versions_[(request.offset + at) / 512].push_back(Sector(from, from + 512));
    }
  }
  // Call when the request is done: after the next flush its sectors hold what it wrote.
  void wrote(const Request& request) { set_unknown(request, false); }
  // Call for a request with an unknown outcome (it failed, or was a discard): all versions remain
  // possible for its sectors, past flushes, until they are written again.
  void outcome_unknown(const Request& request) { set_unknown(request, true); }
  void flushed() {
    for (size_t i = 0; i < versions_.size(); ++i) {
      if (!unknown_[i]) versions_[i].erase(versions_[i].begin(), versions_[i].end() - 1);
    }
  }
  // The first sector with contents that it may not have.
  std::optional<uint64_t> first_wrong(const std::vector<uint8_t>& bytes) const {
    for (size_t i = 0; i < versions_.size(); ++i) {
      const ConstBytes found = ConstBytes(bytes).subspan(i * 512, 512);
      const bool is_known = unknown_[i] ? is_mix(found, versions_[i]) : is_one(found, versions_[i]);
      if (!is_known) return i * 512;
    }
    return std::nullopt;
  }

 private:
  static bool is_one(ConstBytes found, const std::vector<Sector>& versions) {
    return std::ranges::any_of(
        versions, [&](const Sector& version) { return std::ranges::equal(version, found); });
  }
  // A failed write may have been performed in part.
  static bool is_mix(ConstBytes found, const std::vector<Sector>& versions) {
    for (size_t i = 0; i < found.size(); ++i) {
      if (std::ranges::none_of(versions, [&](const Sector& v) { return v[i] == found[i]; })) {
        return false;
      }
    }
    return true;
  }
  void set_unknown(const Request& request, bool is_unknown) {
    for (uint64_t at = 0; at < request.length; at += 512) {
      unknown_[(request.offset + at) / 512] = is_unknown;
    }
  }

  std::vector<std::vector<Sector>> versions_;  // by sector, oldest first
  std::vector<bool> unknown_;
};

}  // namespace byre::qcow2::test
