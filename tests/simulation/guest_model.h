// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "simulation/sector_content.h"
#include "storage/sparse_bytes.h"

namespace byre::simulation {

// What each sector of a guest's disk may hold: as it is read now, and after a crash.
//
// - A write that is done is what reads see. Until a flush that was called later is done, a crash
//   leaves what was durable before or anything written since, never what was not written there.
// - A request that is under way or failed has done any of its sectors. A discard leaves a sector as
//   it was, or zeroes. What such a sector holds is known once it was read: it stays.
// - A sector is written whole or not at all; of a request for part of one the rest stays.
//
// The owner makes no two requests at a time that touch the same sector, one of them a write.
class GuestModel {
 public:
  // Of that size, a multiple of 512; `backing` shows through where it is long enough, and outlives
  // the model.
  GuestModel(uint64_t size, const storage::SparseBytes* backing);

  uint64_t size() const { return size_; }

  // A request begins: from now on a crash may show what it writes, `bytes` or zeroes.
  void begin_write(uint64_t offset, ConstBytes bytes);
  void begin_zeroes(uint64_t offset, uint64_t length);
  // It is done as asked; or nobody knows what it did (a failure, a discard).
  void done(uint64_t offset, uint64_t length);
  void unknown(uint64_t offset, uint64_t length);

  // A flush that is called now and done later covers what is done now.
  uint64_t now() { return clock_++; }
  void flushed(uint64_t called_at);
  // A write of that range is done that was to be durable by then.
  void made_durable(uint64_t offset, uint64_t length);

  // Grows or shrinks; before, and when it is done. A failed one leaves either size. What is cut off
  // is nobody's: until the smaller size is there it may hold what it held, zeroes, or what the
  // backing file has.
  void begin_resize(uint64_t new_size);
  void resized(uint64_t size_now, bool is_known);

  // What was read now; says what is wrong. What it says of doubtful sectors is learnt.
  std::optional<std::string> check_read(uint64_t offset, ConstBytes bytes);
  // All that a crash left, the disk's size included.
  std::optional<std::string> check_crash(ConstBytes bytes) const;
  // The same where the guest's part of a raw file is as long as it happens to be; sizes aside.
  std::optional<std::string> check_raw(ConstBytes bytes) const;

  // The history goes on with what a power cut left; nothing else is possible any more.
  void restart(ConstBytes bytes);
  // It goes on with what was found after a kill: a power cut may still leave something else.
  void observe(ConstBytes bytes);

 private:
  using Values = std::vector<SectorBytes>;
  struct Step {
    Values values;
    uint64_t finished = 0;  // 0: under way
    bool is_known = false;  // it is what reads see; else it may be
  };
  struct State {
    Values durable;           // after a crash, if nothing of `later`
    Values visible;           // what reads may see now; more than one where it is not known
    std::vector<Step> later;  // oldest first; a crash may show any of them
  };

  void begin(uint64_t offset, uint64_t length, const uint8_t* bytes);
  void finish(uint64_t offset, uint64_t length, bool is_known);
  SectorBytes backing_sector(uint64_t sector) const;
  std::string wrong(uint64_t sector, ConstBytes found, const char* when) const;
  bool may_be_left(const State& state, ConstBytes found) const;

  const storage::SparseBytes* backing_;  // nullptr: none
  uint64_t size_;
  std::vector<uint64_t> sizes_;   // that a crash may leave
  uint64_t resize_finished_ = 1;  // 0: one is under way
  uint64_t clock_ = 1;
  std::vector<State> sectors_;
};

}  // namespace byre::simulation
