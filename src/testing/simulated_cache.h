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

namespace byre::faults {

// The contents of a simulated disk and of its volatile cache. Requests see now(). A power cut
// leaves what is durable and, sector by sector, any one of the versions that the cache has, or
// none. A value type that outlives the device, so that a history can continue after a power cut or
// a kill.
class SimulatedCache {
 public:
  // A request that changes something.
  struct Write {
    uint64_t id = 0;
    // When it was done, by the owner's clock; kUnderWay until then.
    uint64_t done_at = kUnderWay;
  };
  static constexpr uint64_t kUnderWay = UINT64_MAX;

  explicit SimulatedCache(storage::SparseBytes contents)
      : now_(contents), durable_(std::move(contents)) {}

  const storage::SparseBytes& now() const { return now_; }
  const storage::SparseBytes& durable() const { return durable_; }
  // Sectors of which a power cut may leave different versions.
  uint64_t pending_sectors() const { return pending_.size(); }

  void write(uint64_t offset, ConstBytes from, const std::shared_ptr<Write>& write);
  void clear(uint64_t offset, uint64_t length, const std::shared_ptr<Write>& write);
  void resize(uint64_t size, const std::shared_ptr<Write>& write);
  // Space, not bytes: a power cut may take it away again.
  void reserve(uint64_t offset, uint64_t length) { now_.reserve(offset, length); }

  // Makes durable what was written by requests that were done at `called_at`.
  void make_durable(uint64_t called_at);
  // The same for a flush: sizes as well, with all changes to them.
  void flush(uint64_t called_at);
  // A flush failed: of the pending sectors about one in `kept_of` is kept for the next flush. The
  // rest can still be read, until settle(), as from a host's page cache, but no later flush makes
  // it durable.
  void forget(uint64_t seed, uint64_t kept_of);
  // The process that made the requests is gone; what they have done so far counts as done. Returns
  // the last id.
  uint64_t settle();

  // A possible result of a power cut at this moment; the same seed gives the same. `description` receives
  // one line about what was kept.
  storage::SparseBytes power_cut(uint64_t seed, std::string* description = nullptr) const;

 private:
  // A sector as a request left it.
  struct Version {
    std::shared_ptr<const std::array<uint8_t, kSectorSize>> bytes;
    uint32_t length = 0;  // less than a sector at the end of a file
    std::shared_ptr<Write> write;
  };

  void remember(uint64_t offset, uint64_t length, const std::shared_ptr<Write>& write);

  storage::SparseBytes now_;
  storage::SparseBytes durable_;
  std::set<uint64_t> forgotten_;                      // sectors
  std::map<uint64_t, std::vector<Version>> pending_;  // by sector number; oldest version first
  uint64_t size_min_ = UINT64_MAX;  // the smallest size since sizes were last durable
};

}  // namespace byre::faults
