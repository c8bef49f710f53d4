// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/units.h"
#include "storage/sparse_bytes.h"

namespace byre::storage {

// What is on a simulated disk and in its volatile cache. Requests see now(). A power cut leaves
// what is durable and, sector by sector, any one of the versions that the cache has of it, or none.
// A value that outlives the device, so that a history can go on after a power cut or a kill.
class SimulatedCache {
 public:
  // A request that changes something.
  struct Write {
    uint64_t id = 0;
    // When it was done, by the owner's clock; kUnderWay before.
    uint64_t done_at = kUnderWay;
  };
  static constexpr uint64_t kUnderWay = UINT64_MAX;

  explicit SimulatedCache(SparseBytes contents) : now_(contents), durable_(std::move(contents)) {}

  const SparseBytes& now() const { return now_; }
  const SparseBytes& durable() const { return durable_; }
  // Sectors of which a power cut may leave one thing or another.
  uint64_t pending_sectors() const { return pending_.size(); }

  void write(uint64_t offset, ConstBytes from, const std::shared_ptr<Write>& write);
  void clear(uint64_t offset, uint64_t length, const std::shared_ptr<Write>& write);
  void resize(uint64_t size, const std::shared_ptr<Write>& write);
  // Space, not bytes: a power cut may take it away again.
  void reserve(uint64_t offset, uint64_t length) { now_.reserve(offset, length); }

  // What requests that were done by `called_at` wrote survives from now on.
  void make_durable(uint64_t called_at);
  // The same of a flush: sizes, too, all that was done to them.
  void flush(uint64_t called_at);
  // A flush failed: of what waited about one sector in `kept_of` is kept for the next one. The rest
  // is still read, until settle(), as a host's page cache has it, and no later flush makes it
  // durable.
  void forget(uint64_t seed, uint64_t kept_of);
  // Whoever made requests is gone; what these have done so far counts as done. Gives the last id.
  uint64_t settle();

  // What a power cut at this moment could leave; the same seed gives the same. `told` gets one line
  // about what was kept.
  SparseBytes power_cut(uint64_t seed, std::string* told = nullptr) const;

 private:
  // A sector as it stood when a request had changed it.
  struct Version {
    std::shared_ptr<const std::array<uint8_t, kSectorSize>> bytes;
    uint32_t length = 0;  // less than a sector at the end of a file
    std::shared_ptr<Write> write;
  };

  void make_cut_durable();
  void remember(uint64_t offset, uint64_t length, const std::shared_ptr<Write>& write);

  SparseBytes now_;
  SparseBytes durable_;
  std::set<uint64_t> forgotten_;                      // sectors
  std::map<uint64_t, std::vector<Version>> pending_;  // by sector number; oldest version first
  uint64_t size_min_ = UINT64_MAX;  // it was cut to this size since sizes were durable
};

}  // namespace byre::storage
