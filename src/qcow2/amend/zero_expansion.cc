// SPDX-License-Identifier: Apache-2.0
#include "qcow2/amend/zero_expansion.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <utility>

#include "async/clean_up.h"
#include "base/units.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/space/allocator.h"
#include "qcow2/space/overlap_check.h"
#include "qcow2/tables/tables.h"
#include "qcow2/update/table_update.h"
#include "qcow2/write/flusher.h"

namespace byre::qcow2 {

using layout::ClusterKind;
using layout::L1Entry;
using layout::L1Kind;
using layout::L2Entry;

namespace {

// Bytes of changed tables that are in memory before they are written.
constexpr uint64_t kChangesMax = 4 * kMiB;

bool is_zero(const L2Entry& entry, const layout::Geometry& geometry) {
  const ClusterKind kind = entry.kind(geometry);
  return kind == ClusterKind::kZeroPlain || kind == ClusterKind::kZeroAllocated;
}

uint64_t count_tables(const std::vector<uint64_t>& l1, const layout::Geometry& geometry) {
  return static_cast<uint64_t>(std::ranges::count_if(
      l1, [&](uint64_t word) { return L1Entry(word).kind(geometry) != L1Kind::kUnallocated; }));
}

}  // namespace

Task<void> ZeroExpansion::run(AmendProgress on_progress) {
  std::exception_ptr error;
  try {
    co_await expand_everything(std::move(on_progress));
    co_await write_changes();
  } catch (...) {
    error = std::current_exception();
  }
  // The tables have changed under the cache.
  co_await tables_->l2_cache.invalidate_all();
  if (error) {
    Task<void> dropping = drop_taken();
    co_await clean_up_and_rethrow(std::move(dropping), error);
  }
  co_await flusher_->settle();
  if (!dropped_.empty()) co_await drop_references();
}

Task<void> ZeroExpansion::expand_everything(AmendProgress on_progress) {
  const layout::Geometry& geometry = context_->geometry;
  std::vector<std::vector<uint64_t>> all{tables_->l1.entries()};
  uint64_t total = count_tables(all.front(), geometry);
  for (const layout::Snapshot& snapshot : *snapshots_) {
    snapshot.validate_l1(geometry);
    const L1Table l1 = co_await L1Table::load(&context_->file(), snapshot.l1_table_offset.value(),
                                              snapshot.l1_size);
    all.push_back(l1.entries());
    total += count_tables(all.back(), geometry);
  }
  uint64_t before = 0;
  for (std::vector<uint64_t>& l1 : all) {
    const uint64_t count = count_tables(l1, geometry);
    for (uint64_t& word : l1) {
      const bool is_seen = seen_.contains(L1Entry(word).offset().value());
      if (is_seen) word = 0;
    }
    const AmendProgress on_table = [&](uint64_t done, uint64_t) {
      if (on_progress) on_progress(before + done, total);
    };
    co_await expand_l1(std::move(l1), on_table);
    before += count;
  }
}

Task<void> ZeroExpansion::expand_l1(std::vector<uint64_t> l1, AmendProgress on_table) {
  L2TableWalk walk(context_, &l1);
  for (uint64_t done = 0;; ++done) {
    on_table(done, l1.size());
    const std::optional<L2TableWalk::Table> table = co_await walk.next();
    if (!table) break;
    if (!snapshots_->empty()) seen_.insert(table->offset.value());
    co_await expand_table(*table);
    if (changes_.size() << context_->geometry.cluster_bits() >= kChangesMax) {
      co_await write_changes();
    }
  }
}

Task<void> ZeroExpansion::expand_table(L2TableWalk::Table table) {
  const layout::Geometry& geometry = context_->geometry;
  uint32_t index = 0;
  const auto skip = [&] {
    while (index < geometry.l2_entries() &&
           !is_zero(L2Entry::load(table.bytes, index, geometry), geometry)) {
      ++index;
    }
  };
  skip();
  if (index == geometry.l2_entries()) co_return;
  const uint64_t references = co_await refcounts_->get(geometry.cluster_of(table.offset));
  if (references == 0) {
    throw context_->health.report_corruption(
        {.code = "qcow2-refcount-too-low", .value = 0, .offset = table.offset.value()},
        fmt::format("the refcount of the cluster at {:#x} is 0, though it is in use",
                    table.offset.value()));
  }
  Change change{table.offset, Buffer(table.bytes.size())};
  std::ranges::copy(table.bytes, change.bytes.data());
  const Bytes bytes = change.bytes.bytes();
  std::vector<uint32_t> to_allocate;
  for (; index < geometry.l2_entries(); ++index, skip()) {
    co_await expand_entry(bytes, index, references, &to_allocate);
  }
  co_await allocate_for(bytes, &to_allocate, references);
  changes_.push_back(std::move(change));
}

// `references`: of the table. A cluster that has as many is not referred to by another.
Task<void> ZeroExpansion::expand_entry(Bytes table, uint32_t index, uint64_t references,
                                       std::vector<uint32_t>* to_allocate) {
  const layout::Geometry& geometry = context_->geometry;
  const L2Entry entry = L2Entry::load(table, index, geometry);
  if (entry.kind(geometry) == ClusterKind::kZeroAllocated) {
    const ClusterRange cluster{geometry.cluster_of(entry.offset()), 1};
    const uint64_t refcount = co_await refcounts_->get(cluster.first);
    if (refcount == references) {
      overlap_->check(entry.offset(), geometry.cluster_size());
      co_await context_->file().write_zeroes(entry.offset().value(), geometry.cluster_size(),
                                             WriteFlags::kNone);
      L2Entry::normal(entry.offset(), references == 1, geometry).store(table, index, geometry);
      co_return;
    }
    note_dropped({cluster, references});
  }
  if (context_->header().has_backing_file()) {
    to_allocate->push_back(index);
  } else {
    L2Entry().store(table, index, geometry);
  }
}

Task<void> ZeroExpansion::allocate_for(Bytes table, const std::vector<uint32_t>* entries,
                                       uint64_t references) {
  const layout::Geometry& geometry = context_->geometry;
  for (size_t done = 0; done < entries->size();) {
    const Allocator::Allocation place = co_await allocator_->allocate(entries->size() - done);
    taken_.push_back({place.range, 1});
    if (references > 1) co_await add_references(place.range, references - 1);
    const layout::HostOffset offset = geometry.offset_of(place.range.first);
    const uint64_t size = place.range.count << geometry.cluster_bits();
    co_await context_->file().write_zeroes(offset.value(), size, WriteFlags::kMayUnmap);
    for (uint64_t i = 0; i < place.range.count; ++i) {
      const L2Entry entry =
          L2Entry::normal(offset + (i << geometry.cluster_bits()), references == 1, geometry);
      entry.store(table, (*entries)[done++], geometry);
    }
  }
}

Task<void> ZeroExpansion::add_references(ClusterRange range, uint64_t count) {
  const Mutex::Guard lock = co_await allocator_->lock_for_update();
  for (; count > 0; --count) {
    co_await refcounts_->add(range);
    ++taken_.back().references;
  }
}

Task<void> ZeroExpansion::write_changes() {
  if (changes_.empty()) co_return;
  co_await tables_->refcount_cache.write_back();
  co_await context_->flush_devices();
  // From here on the file may refer to them.
  taken_.clear();
  co_await write_tables();
  changes_.clear();
}

void ZeroExpansion::note_dropped(Referenced dropped) {
  if (!dropped_.empty()) {
    Referenced& last = dropped_.back();
    if (last.references == dropped.references && last.range.end() == dropped.range.first) {
      last.range.count += dropped.range.count;
      return;
    }
  }
  dropped_.push_back(dropped);
}

// A cluster may then be the disk's alone, and its copied flag changes with the refcounts.
Task<void> ZeroExpansion::drop_references() {
  const layout::Geometry& geometry = context_->geometry;
  TableUpdate update(context_, tables_, refcounts_, allocator_, overlap_);
  co_await update.begin();
  for (const Referenced& dropped : dropped_) {
    const layout::HostOffset offset = geometry.offset_of(dropped.range.first);
    const uint64_t size = dropped.range.count << geometry.cluster_bits();
    for (uint64_t i = 0; i < dropped.references; ++i) co_await update.drop_table(offset, size);
  }
  co_await update.commit_drops();
  co_await update.finish(FreeCause::kOther);
}

Task<void> ZeroExpansion::write_tables() {
  const MetadataKinds own = MetadataKinds(MetadataKind::kActiveL2) | MetadataKind::kInactiveL2;
  std::exception_ptr error;
  try {
    for (const Change& change : changes_) {
      context_->health.check_not_failed();
      overlap_->check(change.table, change.bytes.size(), own);
      const WriteBuffers from(change.bytes.bytes());
      co_await context_->file().write(change.table.value(), from);
    }
  } catch (const Error& failure) {
    context_->health.note_failure(failure, Health::Operation::kWrite);
    error = std::current_exception();
  }
  if (error) std::rethrow_exception(error);
}

// Nothing in the file refers to them.
Task<void> ZeroExpansion::drop_taken() {
  for (const Referenced& taken : std::exchange(taken_, {})) {
    for (uint64_t i = 0; i < taken.references; ++i) co_await allocator_->free(taken.range);
  }
}

}  // namespace byre::qcow2
