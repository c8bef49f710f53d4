// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "qcow2/bitmap_list.h"
#include "qcow2/cache_sizes.h"
#include "qcow2/image_state.h"
#include "qcow2/overlap_check.h"
#include "qcow2/padded_read.h"
#include "qcow2/repairer.h"

// Opening an image. The order of the checks is QEMU's, so that the same damage gives the same
// words: header, extensions and backing file name (layout), encryption, L1 table, snapshot table.
namespace byre::qcow2 {

namespace {

Task<layout::HeaderCluster> read_header(BlockDevice* file, layout::HeaderUse use) {
  Buffer first(layout::Header::kProbeSize);
  const IoVector to_first(first.bytes());
  co_await padded_read(file, 0, to_first);
  // parse() bounds it to 2 MiB.
  Buffer cluster(layout::Header::probe_cluster_size(first.bytes()));
  const IoVector to_cluster(cluster.bytes());
  co_await padded_read(file, 0, to_cluster);
  co_return layout::HeaderCluster::parse(cluster.bytes(), use);
}

Task<std::vector<layout::Snapshot>> read_snapshots(BlockDevice* file,
                                                   const layout::Header& header) {
  layout::SnapshotTableDecoder decoder(header);
  while (!decoder.done()) {
    Buffer part(decoder.wanted());
    const IoVector to(part.bytes());
    co_await padded_read(file, decoder.offset().value(), to);
    decoder.feed(part.bytes());
  }
  co_return decoder.take();
}

Error with_filename(const Error& error, const std::string& filename) {
  return error.hint().empty() ? error
                              : error.with_hint(fmt::format("'{}': {}", filename, error.hint()));
}

// The options of the driver, in QEMU's order; gives what they say of the caches.
CacheSizes check_options(const OpenOptions& options, const layout::Geometry& geometry,
                         uint64_t disk_size) {
  const auto refused = [](const char* message) {
    return Error(ErrorKind::kInvalidArgument, EINVAL, message);
  };
  options.policy.validate();
  const CacheSizes sizes = CacheSizes::of(options.cache, geometry, disk_size);
  if (options.lazy_refcounts.value_or(false) && geometry.version() < 3) {
    throw refused(
        "Lazy refcounts require a qcow2 image with at least qemu 1.1 compatibility level");
  }
  MetadataKinds::of(options.overlap_check);
  if (options.discard_no_unref && geometry.version() < 3) {
    throw refused("discard-no-unref is only supported since qcow2 version 3");
  }
  return sizes;
}

void make_caches(Image::State* state, const CacheSizes& sizes) {
  BlockDevice* const file = state->file.get();
  const TableCache::Options l2{.name = "L2 table",
                               .slice_size = sizes.l2_slice_size,
                               .slices_max = sizes.l2_slices_max,
                               .l2_geometry = &state->geometry};
  const TableCache::Options refcount{.name = "refcount block",
                                     .slice_size = sizes.refcount_slice_size,
                                     .slices_max = sizes.refcount_slices_max,
                                     .load_event = DebugEvent::kRefblockLoad,
                                     .update_event = DebugEvent::kRefblockUpdatePart};
  state->l2_cache = std::make_unique<TableCache>(file, l2);
  state->refcount_cache = std::make_unique<TableCache>(file, refcount);
  state->clean_interval = sizes.clean_interval;
}

void check_encryption(const layout::Header& header, const OpenOptions& options) {
  if (header.crypt_method == layout::CryptMethod::kNone || options.metadata_only) return;
  throw Error(ErrorKind::kUnsupported, EINVAL,
              "Parameter 'encrypt.key-secret' is required for cipher",
              fmt::format("the image is encrypted ({}), and byre does not decrypt yet",
                          header.crypt_method == layout::CryptMethod::kAes ? "AES" : "LUKS"));
}

void check_data_file_flags(const layout::Header& header, const OpenOptions& options) {
  if (options.metadata_only || !header.has_raw_external_data()) return;
  if (header.has_external_data_file()) return;
  throw Error(ErrorKind::kCorrupt, EINVAL, "data-file-raw requires a data file",
              "the raw external data bit is set, the external data file bit is not");
}

Task<L1Table> load_l1(BlockDevice* file, HostOffset offset, uint32_t size, const char* message) {
  std::optional<Error> failure;
  try {
    co_return co_await L1Table::load(file, offset.value(), size);
  } catch (const Error& error) {
    failure = Error(error.kind(), error.errno_value(), message, error.message());
  }
  throw *failure;
}

// Reading the disk needs no snapshots. Whoever writes must know that their clusters have their
// refcounts, and QEMU's advice for that is not byre's.
Task<void> load_snapshots(Image::State* state) {
  std::optional<Error> failure;
  try {
    state->snapshots = co_await read_snapshots(state->file.get(), state->header());
    co_return;
  } catch (const Error& error) {
    failure = error;
  }
  if (state->is_writable()) {
    throw Error(failure->kind(), failure->errno_value(),
                failure->message() +
                    "\nThe disk can be read, and written to after check -r all, or byre check -r "
                    "all --drop-unreadable, which removes snapshots that cannot be read",
                failure->hint());
  }
  if (state->options.on_warning) {
    state->options.on_warning("warning: The snapshots cannot be read: " + failure->message() +
                              "\n");
  }
}

// A writer that does not know all bitmaps takes away the bit that says that they are right.
Task<void> load_bitmaps(Image::State* state) {
  std::optional<Error> failure;
  try {
    state->bitmaps = co_await read_bitmap_list(state->file.get(), state->extensions(),
                                               state->geometry, state->size);
    co_return;
  } catch (const Error& error) {
    failure = error;
  }
  state->has_unreadable_bitmaps = true;
  if (state->options.for_check || !state->options.on_warning) co_return;
  state->options.on_warning(
      "warning: The bitmaps cannot be used: " + failure->message() + "\n" +
      (state->is_writable() ? "They are all invalid once the image is written to; " : "") +
      "check -r all removes those that are broken\n");
}

Task<void> load_tables(Image::State* state) {
  const layout::Header& header = state->header();
  state->l1 = co_await load_l1(state->file.get(), header.l1_table_offset, header.l1_size,
                               "Could not read L1 table");
  check_data_file_flags(header, state->options);
  if (!state->options.for_check) co_await load_snapshots(state);
  co_await load_bitmaps(state);
}

// Lazy refcounts that a crash left behind: nothing may be allocated by them. As in QEMU, what else
// is wrong with the image does not keep it from being opened.
Task<void> repair_dirty(Image::State* state) {
  RepairOptions options;
  options.check.on_finding = [state](const Finding& finding) {
    if (!finding.text.empty() && state->options.on_warning) {
      state->options.on_warning(finding.text + "\n");
    }
  };
  std::optional<Error> failure;
  try {
    CheckSubject subject{state->file.get(), state->header(), state->extensions()};
    const RepairResult result = co_await repair(std::move(subject), std::move(options));
    if (result.check.check_errors != 0) failure = Error::from_errno(EIO, "");
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) {
    throw Error(failure->kind(), failure->errno_value(),
                "Could not repair dirty image: " + errno_text(failure->errno_value()),
                failure->hint());
  }
  const layout::HeaderUse use{.writable = true};
  state->first_cluster = co_await read_header(state->file.get(), use);
  state->is_repaired = true;
  co_await load_tables(state);
}

const layout::Snapshot* find_snapshot(const std::vector<layout::Snapshot>& snapshots,
                                      const SnapshotSelector& selector) {
  using layout::Snapshot;
  const auto first = [&](auto matches) {
    const auto found = std::ranges::find_if(snapshots, matches);
    return found == snapshots.end() ? nullptr : &*found;
  };
  if (selector.id_or_name) {
    const std::string& wanted = *selector.id_or_name;
    const Snapshot* by_id = first([&](const Snapshot& each) { return each.id == wanted; });
    if (by_id != nullptr) return by_id;
    return first([&](const Snapshot& each) { return each.name == wanted; });
  }
  if (!selector.id && !selector.name) return nullptr;
  return first([&](const Snapshot& each) {
    return (!selector.id || each.id == *selector.id) &&
           (!selector.name || each.name == *selector.name);
  });
}

}  // namespace

Task<std::unique_ptr<Image>> Image::open(std::unique_ptr<BlockDevice> file, OpenOptions options) {
  const std::string filename = file->filename();
  std::optional<Error> failure;
  try {
    const layout::HeaderUse use{.writable = options.writable, .for_check = options.for_check};
    layout::HeaderCluster first_cluster = co_await read_header(file.get(), use);
    auto state =
        std::make_unique<State>(std::move(file), std::move(options), std::move(first_cluster));
    const layout::Header& header = state->header();
    check_encryption(header, state->options);
    if (state->extensions().stale_bitmaps && state->options.on_warning) {
      state->options.on_warning("warning: " + layout::stale_bitmaps_warning(header));
    }
    // Whole sectors, as QEMU counts.
    state->size = align_down(header.size, kSectorSize);
    const CacheSizes sizes = check_options(state->options, state->geometry, state->size);
    co_await load_tables(state.get());
    const bool must_repair = state->is_writable() && !state->options.for_check && header.is_dirty();
    if (must_repair) co_await repair_dirty(state.get());
    make_caches(state.get(), sizes);
    state->update_limits();
    state->reader = std::make_unique<Reader>(state.get());
    co_return std::unique_ptr<Image>(new Image(std::move(state)));
  } catch (const Error& error) {
    failure = with_filename(error, filename);
  }
  throw *failure;
}

Task<void> Image::load_snapshot(SnapshotSelector selector) {
  BYRE_ASSERT(!state_->is_writable());
  const layout::Snapshot* const snapshot = find_snapshot(state_->snapshots, selector);
  if (snapshot == nullptr) {
    throw Error(ErrorKind::kNotFound, ENOENT, "Can't find snapshot");
  }
  snapshot->validate_l1(state_->geometry);
  state_->l1 = co_await load_l1(state_->file.get(), snapshot->l1_table_offset, snapshot->l1_size,
                                "Failed to read l1 table for snapshot");
}

}  // namespace byre::qcow2
