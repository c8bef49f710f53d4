// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "simulation/sector_content.h"

namespace byre::simulation {

// The possible contents of each sector of a guest's disk: as read now, and after a crash.
//
// - Reads see a completed write. Until a flush that was called later completes, a crash leaves what
//   was durable before or anything written since, never anything that was not written there.
// - A request that is in flight or failed has changed any subset of its sectors. A discard leaves a
//   sector as it was, or zeroes. The contents of such a sector are known once it was read: they
//   stay.
// - A sector is written as a whole or not at all; a request for part of one keeps its other bytes.
//
// REQUIRES: of two requests in flight that touch the same sector, neither is a write.
class GuestModel {
 public:
  // `size` is a multiple of 512; `backing` is what the backing file has: it shows through as far as it
  // reaches.
  GuestModel(uint64_t size, std::vector<uint8_t> backing);

  // The backing file is another one, or has other contents; the disk reads the same.
  void set_backing(std::vector<uint8_t> backing) { backing_ = std::move(backing); }

  uint64_t size() const { return size_; }
  // What reads see where nothing is allocated: the backing file, and zeroes past its end.
  std::vector<uint8_t> empty_disk() const;

  // A request begins: from now on a crash may leave what it writes, `bytes` or zeroes.
  void begin_write(uint64_t offset, ConstBytes bytes);
  void begin_zeroes(uint64_t offset, uint64_t length);
  // The request completed as requested; or its effect is unknown (a failure, a discard).
  void done(uint64_t offset, uint64_t length);
  void unknown(uint64_t offset, uint64_t length);

  // A flush that is called now and completes later covers what is completed now.
  uint64_t now() { return clock_++; }
  void flushed(uint64_t called_at);
  // A write of that range completed that was to be durable by then.
  void made_durable(uint64_t offset, uint64_t length);

  // A resize: before, and when it has completed. After a failure both sizes are possible. The
  // contents past the new end are undefined: until the smaller size is durable they may be the old
  // ones, zeroes, or those of the backing file.
  void begin_resize(uint64_t new_size);
  void resized(uint64_t size_now, bool is_known);

  // The disk is about to be replaced as a whole, by one with these contents. If that succeeds,
  // restart() follows; if it fails, both are possible.
  void begin_replacement(ConstBytes bytes);
  void not_replaced(uint64_t size_now);

  // Checks what was read now; returns what is wrong. Learns the contents of sectors that were not
  // known.
  std::optional<std::string> check_read(uint64_t offset, ConstBytes bytes);
  // Checks the disk that a crash left, including its size.
  std::optional<std::string> check_crash(ConstBytes bytes) const;
  // The same for the guest's part of a raw file, of any length; sizes are not compared.
  std::optional<std::string> check_raw(ConstBytes bytes) const;

  // The history continues with what a power cut left; no other contents are possible any more.
  void restart(ConstBytes bytes);
  // The history continues with what was found after a kill: a power cut may still leave something
  // else.
  void observe(ConstBytes bytes);

 private:
  using Values = std::vector<SectorBytes>;
  struct Step {
    Values values;
    uint64_t finished = 0;  // 0: in flight
    bool is_known = false;  // reads see it; otherwise they may
  };
  struct State {
    Values durable;           // after a crash, unless any of `later`
    Values visible;           // what reads may see now; several if it is not known
    std::vector<Step> later;  // oldest first; a crash may show any of them
  };

  void begin(uint64_t offset, uint64_t length, const uint8_t* bytes);
  void finish(uint64_t offset, uint64_t length, bool is_known);
  SectorBytes backing_sector(uint64_t sector) const;
  std::string wrong(uint64_t sector, ConstBytes found, const char* when) const;
  bool may_be_left(const State& state, ConstBytes found) const;

  std::vector<uint8_t> backing_;  // empty: none
  uint64_t size_;
  std::vector<uint64_t> sizes_;   // that a crash may leave
  uint64_t resize_finished_ = 1;  // 0: one is in flight
  uint64_t clock_ = 1;
  std::vector<State> sectors_;
};

}  // namespace byre::simulation
