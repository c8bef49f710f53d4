// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/range_lock.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "simulation/crash_check.h"
#include "simulation/guest_model.h"
#include "simulation/plan.h"
#include "simulation/request.h"
#include "testing/memory_faults.h"
#include "testing/simulated_disk.h"

namespace byre::simulation {

// Counters of a run; summed over seeds.
struct Counts {
  uint64_t crashes = 0;   // power cuts and kills after which the image was checked
  uint64_t sessions = 0;  // sessions
  uint64_t requests = 0;
  uint64_t disk_requests = 0;
  uint64_t errors = 0;  // requests that failed
};

// The state that a history carries from one opening of the image to the next.
struct World {
  Plan plan;
  std::unique_ptr<GuestModel> model;
  std::optional<faults::SimulatedCache> file;
  std::optional<faults::SimulatedCache> data;
  Below below;
  std::vector<FrozenSnapshot> snapshots;
  std::optional<std::vector<uint8_t>> of_bitmap;  // contents of the disk when the bitmap was made
  // The data file is raw, and no crash has left it different from the guest's view: see README.md.
  bool is_raw_equal = false;
  bool leaks_allowed = false;  // something failed or was interrupted at some time
  uint64_t next_request = 1;
  Counts counts;
  std::function<void(const std::string&)> trace;  // may be empty

  Promise promise() const {
    return {model.get(), &snapshots, &of_bitmap, is_raw_equal, plan.commits};
  }
  // The image as it is while it is closed.
  Files files() const;
  // The image has another backing file, or one with other contents, and its snapshots may read as
  // something else.
  void set_below(const Files& files);
  void tell(const std::string& line) const {
    const faults::MemoryFaults::Pause pause;
    if (trace) trace(line);
  }
};

// One opening of the image: requests, several at a time, until it is closed, killed, or the power
// is cut; meanwhile copies of the disks are checked as power cuts would leave them. Ends with the
// world in the state that the next opening finds.
class Session {
 public:
  enum class End {
    kClose,
    kKill,
    kEarlyKill,  // right after its first writes: marks and feature bits
    kPowerCut
  };
  enum class Guest { kReadsAndWrites, kOnlyReads };

  Session(World* world, uint64_t seed, uint32_t requests, End end, Guest guest);

  // Returns what is wrong; nullopt if everything was as promised.
  std::optional<std::string> run();

 private:
  // The number of moments that are tried most often after a special event.
  static constexpr uint32_t kRareMoments = 10;

  Task<void> live();
  Task<void> fill();
  Task<void> work();
  Task<void> do_request(Request request);
  // Recorded when a request begins.
  struct Begun {
    std::vector<uint8_t> bytes;
    uint64_t called_at = 0;
    bool was_tight = false;
    uint64_t tight_before = 0;
  };
  Begun begin(const Request& request);
  Task<void> perform(Request request, Begun* begun);
  Task<bool> read_whole_disk(std::vector<uint8_t>* bytes);
  Task<void> manage_snapshot(Request request);
  Task<void> share(Request request);
  Task<void> rebase(Request request);
  Task<void> commit(Request request);
  void begin_rebase(const Request& request, ConstBytes guest);
  bool is_possible(const Request& request);
  std::vector<uint8_t> contents_after(const Request& request);
  Task<void> amend(uint64_t choice);
  Task<void> change_properties(uint64_t choice);
  FrozenSnapshot* snapshot_of(const Request& request);
  void begin_of_snapshot(const Request& request, std::vector<uint8_t> contents);
  void finish_of_snapshot(const Request& request, const Begun& begun, bool is_done);
  Task<void> read_back(Request request, std::vector<uint8_t>* bytes);
  void finish(const Request& request, const Begun& begun, std::exception_ptr thrown);
  Request draw();
  void finish_closing(uint64_t called_at, std::exception_ptr thrown);
  Task<void> close();
  void change_room();
  RequestBounds bounds() const;
  std::unique_ptr<faults::SimulatedDisk> make_disk(faults::SimulatedCache cache,
                                                   const std::string& name, bool grows);
  OpenFile open_below();
  std::vector<faults::SimulatedDisk*> disks() const;

  void on_moment(faults::SimulatedDisk::Moment moment, uint64_t length);
  Files cut_power(uint64_t seed);
  void look_at_cuts();
  void look(const Files& files, bool writes);
  void end_at_power_cut();
  void power_off();
  void fail(const std::string& what);
  bool may_fail(const Request& request, const Error& error, bool is_tight) const;
  void set_room(bool is_tight);
  std::optional<std::string> settle_end();
  std::optional<std::string> settle_below(const Files& files);
  std::optional<std::string> settle_closed(const Files& files);

  World* world_;
  Random random_;
  Random cut_random_;
  uint64_t loop_seed_;
  uint32_t requests_left_;
  End end_;
  Guest guest_;
  uint64_t cut_at_ = UINT64_MAX;  // the moment at which the power is cut or the program killed
  uint64_t moments_ = 0;
  uint32_t rare_moments_left_ = 0;
  uint32_t table_moments_left_ = 0;
  bool has_flush_failed_ = false;
  bool is_off_ = false;
  bool changes_base_ = false;  // by its last request
  bool is_filling_ = false;
  bool is_closed_ = false;
  bool is_tight_ = false;     // a disk is short of space
  uint64_t tight_times_ = 0;  // how often one became so
  bool has_written_ = false;  // a request changed something
  uint32_t errors_in_turn_ = 0;
  std::optional<std::string> failure_;
  std::optional<Files> left_;  // by the power cut that ended the session
  RangeLock ranges_;
  std::unique_ptr<qcow2::Image> image_;
  qcow2::ImageParts* parts_ = nullptr;  // of the image
  faults::SimulatedDisk* file_ = nullptr;
  faults::SimulatedDisk* data_ = nullptr;
  std::map<std::string, faults::SimulatedDisk*> below_;  // those that may be written to
  Base new_base_;                                        // of a rebase
};

}  // namespace byre::simulation
