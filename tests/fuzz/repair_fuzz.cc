// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "async/loop.h"
#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/image/image_check.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"
#include "storage/memory_device.h"
#include "support/guest_view.h"

// The bytes are an image that is repaired: the repair ends, in bounded time and memory; its result
// agrees with a check afterwards; what a guest could read before, it can read after. Guest clusters
// on the image's own tables, which a repair changes, are excluded from that.
namespace {

using namespace byre;
using qcow2::test::GuestView;
using qcow2::test::open_for_check;
using qcow2::test::view_guest;

constexpr uint64_t kViewMax = 64 * 65536;
constexpr uint64_t kFileMax = 64 << 20;
constexpr uint64_t kWorkMax = 1 << 16;

Task<GuestView> view(std::unique_ptr<BlockDevice> file) {
  const std::unique_ptr<qcow2::Image> image = co_await open_for_check(std::move(file));
  co_return co_await view_guest(image.get(), 4096, kViewMax);
}

// Whether some cluster has two roles: then changes of tables are visible to the guest.
struct Roles {
  bool is_overlapping = false;
  std::vector<bool> tables;

  void add_table(uint64_t offset, uint64_t size, uint64_t cluster_size) {
    for (uint64_t at = offset; at < offset + size && at / cluster_size < tables.size();
         at += cluster_size) {
      if (tables[at / cluster_size]) is_overlapping = true;
      tables[at / cluster_size] = true;
    }
  }
};

uint64_t word_at(const storage::MemoryDevice& file, uint64_t offset) {
  if (offset >= file.size() || file.size() - offset < 8) return 0;
  return load_big_endian<uint64_t>(file.get(offset, 8).data());
}

// Only looks at the active disk; images with snapshots or bitmaps count as overlapping if the check
// found anything wrong.
bool has_overlaps(const qcow2::Image& image, const storage::MemoryDevice& file) {
  const qcow2::layout::Header& header = image.header();
  const qcow2::layout::Geometry& geometry = image.geometry();
  const uint64_t cluster_size = geometry.cluster_size();
  if (header.snapshot_count != 0 || image.extensions().bitmaps ||
      image.extensions().crypto_header) {
    return true;
  }
  Roles roles;
  roles.tables.resize(geometry.clusters_for(file.size()) + 1);
  roles.add_table(0, cluster_size, cluster_size);
  roles.add_table(header.l1_table_offset.value(), std::max<uint64_t>(header.l1_size * 8, 1),
                  cluster_size);
  const uint64_t table = header.refcount_table_offset.value();
  const uint64_t table_size = uint64_t{header.refcount_table_clusters} << header.cluster_bits;
  roles.add_table(table, table_size, cluster_size);
  for (uint64_t at = 0; at < std::min(table_size, kWorkMax); at += 8) {
    const qcow2::layout::RefcountTableEntry entry(word_at(file, table + at));
    if (!entry.offset().is_zero()) roles.add_table(entry.offset().value(), 1, cluster_size);
  }
  if (header.l1_size > kWorkMax || table_size > kWorkMax) return true;
  std::vector<uint64_t> l2_tables;
  for (uint64_t i = 0; i < header.l1_size; ++i) {
    const qcow2::layout::L1Entry entry(word_at(file, header.l1_table_offset.value() + i * 8));
    if (entry.offset().is_zero()) continue;
    roles.add_table(entry.offset().value(), 1, cluster_size);
    l2_tables.push_back(entry.offset().value());
  }
  if (roles.is_overlapping || l2_tables.size() * geometry.l2_entries() > kWorkMax) return true;
  const auto is_table = [&](uint64_t offset) {
    return offset / cluster_size < roles.tables.size() && roles.tables[offset / cluster_size];
  };
  for (const uint64_t l2 : l2_tables) {
    for (uint64_t i = 0; i < geometry.l2_entries(); ++i) {
      const qcow2::layout::L2Entry entry(word_at(file, l2 + i * geometry.l2_entry_size()));
      if (entry.is_compressed()) {
        const qcow2::layout::CompressedRange range = entry.compressed_range(geometry);
        if (is_table(range.offset.value())) return true;
        if (is_table(range.offset.value() + range.size - 1)) return true;
        // The file grows, and data that its end had cut off becomes complete.
        if (range.offset.value() + range.size > file.size()) return true;
      } else if (!entry.offset().is_zero() && is_table(entry.offset().value())) {
        return true;
      }
    }
  }
  return false;
}

bool can_compare(const GuestView& before, const GuestView& after) {
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i] && before[i] != after[i]) return false;
  }
  return true;
}

Task<void> run(const std::vector<uint8_t>* bytes) {
  auto file = std::make_unique<storage::MemoryDevice>(ConstBytes(*bytes));
  std::unique_ptr<qcow2::Image> image;
  bool overlaps = false;
  GuestView before;
  storage::MemoryDevice* const memory = file.get();
  try {
    image = co_await open_for_check(std::move(file));
    overlaps = has_overlaps(*image, *memory);
    if (!overlaps) before = co_await view(memory->clone());
  } catch (const Error& error) {
    co_return;
  }
  // An L1 table may extend past the end of the file, which then grows over it, and is copied if it
  // overlaps.
  const uint64_t growth_max = kFileMax + uint64_t{image->header().l1_size} * 8 * 8;
  qcow2::RepairOptions options;
  options.scope = bytes->back() % 4 == 0 ? qcow2::RepairScope::kLeaks : qcow2::RepairScope::kAll;
  options.check.findings_max = 100;
  std::optional<qcow2::RepairResult> result;
  try {
    result = co_await qcow2::repair(*image, std::move(options));
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
  }
  BYRE_ASSERT(memory->size() < bytes->size() + growth_max);
  if (!overlaps) {
    const GuestView after = co_await view(memory->clone());
    BYRE_ASSERT(before.size() == after.size() && can_compare(before, after));
  }
  if (!result) co_return;
  std::unique_ptr<qcow2::Image> again = co_await open_for_check(memory->clone());
  const qcow2::CheckOptions check_options;
  std::optional<qcow2::CheckResult> checked;
  try {
    checked = co_await qcow2::check(*again, check_options);
  } catch (const Error&) {
    // An unreadable snapshot table ends a check, and a repair keeps it.
    BYRE_ASSERT(!result->is_clean());
  }
  if (!checked) co_return;
  BYRE_ASSERT(checked->corruptions == result->check.corruptions);
  BYRE_ASSERT(checked->check_errors == result->check.check_errors);
  BYRE_ASSERT(checked->leaks == result->check.leaks);
  if (result->is_clean()) {
    BYRE_ASSERT(!again->header().is_dirty() && !again->header().is_corrupt());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  Loop loop({.seed = 1});
  loop.run(run(&bytes));
  return 0;
}
