// SPDX-License-Identifier: Apache-2.0
#include "qcow2/repair/repair.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "qcow2/check/copied_flags.h"
#include "qcow2/check/pass.h"
#include "qcow2/layout/features.h"
#include "qcow2/repair/bitmaps.h"
#include "qcow2/repair/entries.h"
#include "qcow2/repair/header_write.h"
#include "qcow2/repair/refcounts.h"
#include "qcow2/repair/structure.h"

// The order of the steps, and why a power cut between or within any two leaves an image that can be
// repaired and has everything that could be read before (docs/decisions/0040):
//
//   1. autoclear bits that byre does not know    before anything else changes
//   2. repaired entries, in place                each reads as before, whatever else is on disk
//   3. refcounts: in place, or a new structure   each write in place is an improvement; a new
//      and one write of the header               structure is used from that write on
//   4. flush; then copied flags, in place        a flag depends on the refcount it describes: a
//                                                cluster without it is copied and its refcount
//                                                decremented, so that must have been raised before
//   5. flush; a check; if it finds nothing:      the check does not look at them, and they would
//      refcounts past the end of the file        become leaks when the file grows
//   6. flush; dirty and corrupt bits             cleared when they no longer apply

namespace byre::qcow2 {
namespace {

class Repairer {
 public:
  Repairer(CheckSubject subject, RepairOptions options)
      : subject_(std::move(subject)), options_(std::move(options)) {
    options_.check.is_repair = true;
    first_ = options_.check;
    first_.repairs = repairs_all();
    first_.drops_unreadable = options_.drops_unreadable;
  }

  Task<RepairResult> run();

 private:
  bool repairs_all() const { return options_.scope == RepairScope::kAll; }
  BlockDevice& file() { return *subject_.file; }

  Task<void> begin_writing();
  enum class Reports { kAll, kReferences, kNothing };
  Task<void> check_again(Reports reports);
  Task<void> repair_entries();
  Task<void> repair_structure();
  bool must_build();
  bool must_move();
  bool must_remove_bitmaps();
  Task<void> remove_bitmaps();
  Task<void> build();
  Task<bool> build_where_there_is_room();
  Task<void> cut_file(uint64_t size);
  bool is_l1_past_end();
  Task<bool> try_to_build(NewPlaces::Where where);
  Task<void> repair_refcounts();
  Task<void> repair_copied();
  Task<void> clear_past_end(uint64_t end);
  Task<void> write_features(uint64_t incompatible, uint64_t autoclear);
  Task<void> clear_bits();
  void add_note(Finding finding);

  CheckSubject subject_;
  RepairOptions options_;
  CheckOptions first_;  // for the passes before the last
  std::optional<CheckPass> pass_;
  uint64_t leaks_fixed_ = 0;
  uint64_t corruptions_fixed_ = 0;
  bool is_writing_ = false;
  bool is_built_ = false;
  RangeSet given_back_;
  std::optional<Error> no_room_;
  bool is_in_place_ = false;  // there was no space to rebuild
};

Task<void> Repairer::begin_writing() {
  if (std::exchange(is_writing_, true)) co_return;
  // An earlier writer may have been killed. A power cut must not bring back entries that refer to
  // clusters which are free by the entries read now.
  co_await file().flush();
  const layout::Header& header = subject_.header;
  const uint64_t known = header.autoclear_features & layout::autoclear::kKnown;
  if (header.version < 3 || known == header.autoclear_features) co_return;
  co_await write_features(header.incompatible_features, known);
}

Task<void> Repairer::write_features(uint64_t incompatible, uint64_t autoclear) {
  using layout::RawHeader;
  std::vector<uint8_t> bytes(24);
  static_assert(offsetof(RawHeader, autoclear_features) ==
                offsetof(RawHeader, incompatible_features) + 16);
  store_big_endian<uint64_t>(bytes.data(), incompatible);
  store_big_endian<uint64_t>(bytes.data() + 8, subject_.header.compatible_features);
  store_big_endian<uint64_t>(bytes.data() + 16, autoclear);
  co_await write_to_header(&file(), offsetof(RawHeader, incompatible_features), std::move(bytes));
  subject_.header.incompatible_features = incompatible;
  subject_.header.autoclear_features = autoclear;
}

void Repairer::add_note(Finding finding) {
  finding.severity = Severity::kNote;
  pass_->findings().add(finding);
}

// Starts a new pass over the current contents of the file.
Task<void> Repairer::check_again(Reports reports) {
  pass_.emplace(subject_, &first_);
  pass_->findings().set_muted(reports == Reports::kNothing);
  co_await pass_->count();
  pass_->findings().set_muted(reports != Reports::kAll);
  co_await pass_->compare();
  pass_->findings().set_muted(false);
}

Task<void> Repairer::repair_entries() {
  co_await begin_writing();
  EntryRepairer repairer(&*pass_);
  const uint64_t before = pass_->findings().repaired_corruptions();
  const bool has_written = co_await repairer.repair();
  corruptions_fixed_ += pass_->findings().repaired_corruptions() - before;
  if (!has_written) co_return;
  co_await file().flush();
  co_await check_again(Reports::kNothing);
}

// In a longer file more references lead into it, and the entries of a moved table may be repaired:
// then there is more to do.
Task<void> Repairer::repair_structure() {
  constexpr int kRoundsMax = 3;
  for (int round = 0; round < kRoundsMax; ++round) {
    if (repairs_all() && pass_->references().has_repairable()) co_await repair_entries();
    if (must_remove_bitmaps()) co_await remove_bitmaps();
    if (!must_build() || is_in_place_) co_return;
    if (!repairs_all()) {
      add_note({.kind = FindingKind::kRebuildNeeded});
      throw Error(
          ErrorKind::kIo, EIO, ErrorData{.code = "qcow2-rebuild-not-allowed"},
          "refcounts must be rebuilt at a new offset, which a repair of leaks alone may not do");
    }
    co_await build();
  }
}

bool Repairer::must_build() {
  if (pass_->refcounts().must_be_rebuilt()) return true;
  if (!repairs_all()) return false;
  return pass_->metadata().has_repaired_snapshots() || must_remove_bitmaps() || must_move();
}

bool Repairer::must_move() {
  return pass_->refcounts().is_table_shared() || StructureBuilder::must_move_l1(*pass_);
}

// They may be complete once the rest of the file is there.
bool Repairer::must_remove_bitmaps() {
  if (!repairs_all() || !pass_->bitmaps().has_broken()) return false;
  return options_.drops_unreadable || !pass_->references().expects_more();
}

// If the remaining bitmaps are the first of the directory, only the extension is changed. Otherwise
// the directory is rewritten, together with the refcounts.
Task<void> Repairer::remove_bitmaps() {
  for (const layout::BrokenBitmap& each : pass_->bitmaps().broken()) {
    add_note({.kind = FindingKind::kBitmapRemoved, .index = each.index, .name = each.name});
  }
  co_await begin_writing();
  const uint64_t corruptions = pass_->findings().corruptions();
  std::optional<layout::BitmapsExtension> extension = subject_.extensions.bitmaps;
  const std::vector<layout::BitmapEntry> sound = pass_->bitmaps().sound();
  const bool is_beginning = co_await begins_bitmap_directory(file(), *extension, sound);
  if (!is_beginning) co_return;
  extension->bitmap_count = static_cast<uint32_t>(sound.size());
  extension->directory_size = layout::encode_bitmap_directory(sound).size();
  if (sound.empty()) extension.reset();
  BitmapsSwitch change(&file(), &subject_.header);
  co_await change.write(extension);
  subject_.extensions.bitmaps = extension;
  co_await check_again(Reports::kNothing);
  corruptions_fixed_ += corruptions - std::min(corruptions, pass_->findings().corruptions());
}

// Returns whether there was space.
Task<bool> Repairer::try_to_build(NewPlaces::Where where) {
  const uint64_t size = file().size();
  StructureBuilder builder(&*pass_, pass_->references().is_incomplete(), where);
  const std::vector<layout::BitmapEntry> bitmaps = pass_->bitmaps().sound();
  const bool has_new_bitmaps = must_remove_bitmaps();
  if (has_new_bitmaps) builder.set_bitmaps(&bitmaps);
  std::optional<Error> failure;
  try {
    subject_.header = co_await builder.build();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kNoSpace || builder.has_switched()) throw;
    failure = error;
  }
  if (failure) {
    no_room_ = failure;
    co_await cut_file(size);
    co_await check_again(Reports::kNothing);
    co_return false;
  }
  if (has_new_bitmaps) {
    BitmapsSwitch change(&file(), &subject_.header);
    co_await change.write(builder.bitmaps());
    subject_.extensions.bitmaps = builder.bitmaps();
  }
  given_back_ = builder.given_back();
  co_return true;
}

// Nothing refers to what is truncated; a device that cannot shrink is as sound.
Task<void> Repairer::cut_file(uint64_t size) {
  if (file().size() <= size) co_return;
  try {
    co_await file().resize(size, Preallocation::kOff);
  } catch (const Error&) {
  }
}

Task<bool> Repairer::build_where_there_is_room() {
  using Where = NewPlaces::Where;
  const bool grows = file().limits().grows;
  const bool is_partial = pass_->references().expects_more() && !options_.drops_unreadable;
  const bool may_grow = grows && !is_partial;
  bool is_built = false;
  if (may_grow) is_built = co_await try_to_build(Where::kPastEnd);
  if (!is_built) is_built = co_await try_to_build(Where::kInside);
  if (is_built) co_return true;
  const bool needs_places =
      must_move() || must_remove_bitmaps() || pass_->metadata().has_repaired_snapshots();
  if (!needs_places && pass_->refcounts().can_be_written_in_place()) co_return false;
  // If even tables that the header names are past the end, more of the file is certainly to come.
  const bool is_cut = pass_->refcounts().is_past_end() || is_l1_past_end();
  const bool may_grow_after_all = grows && is_partial && !is_cut;
  if (may_grow_after_all) is_built = co_await try_to_build(Where::kPastEnd);
  if (is_built) co_return true;
  const bool waits_for_tables = is_partial && is_cut;
  add_note({.kind = waits_for_tables ? FindingKind::kNoRoomPastEnd : FindingKind::kNoRoom,
            .cause = *no_room_});
  throw Error(*no_room_);
}

bool Repairer::is_l1_past_end() {
  const layout::Header& header = subject_.header;
  return pass_->references().is_outside(header.l1_table_offset.value(),
                                        uint64_t{header.l1_size} * 8);
}

Task<void> Repairer::build() {
  const bool is_reported = pass_->refcounts().must_be_rebuilt();
  const uint64_t corruptions = pass_->findings().corruptions();
  const uint64_t leaks = pass_->findings().leaks();
  if (is_reported && !is_built_) {
    add_note({.kind = FindingKind::kRefcountsRebuilt});
  }
  co_await begin_writing();
  if (must_move() && !is_built_) {
    add_note({.kind = FindingKind::kTablesMoved});
  }
  const bool is_built = co_await build_where_there_is_room();
  if (!is_built) {
    is_in_place_ = true;
    co_return;
  }
  is_built_ = true;
  co_await check_again(is_reported ? Reports::kReferences : Reports::kNothing);
  // Frees the clusters of the old structure; its other defects are gone with it.
  RefcountRepairer repairer(&*pass_, options_.scope);
  repairer.give_back(&given_back_);
  pass_->findings().set_muted(!is_reported);
  co_await repairer.repair();
  pass_->findings().set_muted(false);
  const Findings& now = pass_->findings();
  const uint64_t leaks_left = now.leaks() - std::min(now.leaks(), now.repaired_leaks());
  corruptions_fixed_ += corruptions - std::min(corruptions, now.corruptions());
  leaks_fixed_ += leaks - std::min(leaks, leaks_left);
}

Task<void> Repairer::repair_refcounts() {
  if (pass_->findings().leaks() + pass_->findings().corruptions() == 0) co_return;
  co_await begin_writing();
  const uint64_t leaks = pass_->findings().repaired_leaks();
  const uint64_t corruptions = pass_->findings().repaired_corruptions();
  RefcountRepairer repairer(&*pass_, options_.scope);
  co_await repairer.repair();
  leaks_fixed_ += pass_->findings().repaired_leaks() - leaks;
  corruptions_fixed_ += pass_->findings().repaired_corruptions() - corruptions;
}

Task<void> Repairer::repair_copied() {
  if (!pass_->references().is_suspect() && pass_->counts().claims_hold()) co_return;
  // Flags are not set from refcounts that are too low.
  const bool is_sound =
      pass_->findings().corruptions() == 0 && pass_->findings().check_errors() == 0;
  const bool repairs = repairs_all() || is_sound;
  if (repairs) co_await begin_writing();
  co_await file().flush();
  CheckerFile tables(&file());
  StoredRefcounts refcounts(subject_.header, &tables, &pass_->references(), &pass_->options());
  co_await refcounts.read_table();
  const uint64_t corruptions = pass_->findings().repaired_corruptions();
  CopiedFlagChecker copied(&tables, &pass_->references(), &refcounts, &pass_->options());
  if (repairs) copied.repair();
  co_await copied.check(subject_.header.l1_table_offset.value(), subject_.header.l1_size);
  corruptions_fixed_ += pass_->findings().repaired_corruptions() - corruptions;
}

// The check has looked at `end` clusters. QEMU prints nothing about the others, so they are not
// reported.
Task<void> Repairer::clear_past_end(uint64_t end) {
  RefcountsPastEnd past_end(subject_, options_.check, end);
  const bool has_any = co_await past_end.has_any();
  if (!has_any) co_return;
  co_await begin_writing();
  co_await past_end.clear();
  co_await file().flush();
}

Task<void> Repairer::clear_bits() {
  constexpr uint64_t kBits = layout::incompatible::kDirty | layout::incompatible::kCorrupt;
  const layout::Header& header = subject_.header;
  if (header.version < 3 || (header.incompatible_features & kBits) == 0) co_return;
  co_await begin_writing();
  co_await write_features(header.incompatible_features & ~kBits, header.autoclear_features);
}

Task<RepairResult> Repairer::run() {
  co_await check_again(Reports::kAll);
  corruptions_fixed_ = pass_->findings().repaired_corruptions();
  co_await repair_structure();
  if (!is_built_) co_await repair_refcounts();
  if (pass_->references().is_incomplete() && pass_->findings().leaks() > 0) {
    add_note({.kind = FindingKind::kLeaksKept});
  }
  if (repairs_all() && pass_->references().expects_more()) {
    add_note({.kind = FindingKind::kPastEndKept});
  }
  co_await repair_copied();
  RepairResult result{pass_->result(), leaks_fixed_, corruptions_fixed_};
  const uint64_t end = pass_->counts().cluster_count();
  const bool is_incomplete = pass_->references().is_incomplete();
  if (is_writing_) {
    co_await file().flush();
    const bool is_reported = leaks_fixed_ + corruptions_fixed_ > 0;
    if (is_reported && options_.on_fixed) options_.on_fixed(leaks_fixed_, corruptions_fixed_);
    pass_.reset();
    CheckOptions last = options_.check;
    if (!is_reported) last.findings_max = 0;  // they were reported before
    result.check = co_await check(subject_, std::move(last));
    if (!is_reported) result.check.findings_unreported = 0;
  }
  if (result.is_clean()) {
    if (!is_incomplete) co_await clear_past_end(end);
    co_await clear_bits();
  }
  co_return result;
}

}  // namespace

Task<RepairResult> repair(CheckSubject subject, RepairOptions options) {
  Repairer repairer(std::move(subject), std::move(options));
  std::optional<Error> failure;
  try {
    co_return co_await repairer.run();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    failure = end_of_check(error);
  }
  throw *failure;
}

}  // namespace byre::qcow2
