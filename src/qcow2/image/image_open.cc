// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "block/read_zero_padded.h"
#include "qcow2/bitmaps/bitmap_list.h"
#include "qcow2/image/cache_sizes.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "qcow2/repair/repair.h"
#include "qcow2/space/overlap_check.h"

// Opening an image. The order of the checks is QEMU's, so that the same damage gives the same
// message: header, extensions and backing file name (layout), encryption, L1 table, snapshot table.
namespace byre::qcow2 {

namespace {

Task<layout::HeaderCluster> read_header(BlockDevice* file, layout::HeaderUse use) {
  Buffer first(layout::Header::kProbeSize);
  const ReadBuffers to_first(first.bytes());
  co_await read_zero_padded(file, 0, to_first);
  // probe_cluster_size() limits it to 2 MiB.
  Buffer cluster(layout::Header::probe_cluster_size(first.bytes()));
  const ReadBuffers to_cluster(cluster.bytes());
  co_await read_zero_padded(file, 0, to_cluster);
  co_return layout::HeaderCluster::parse(cluster.bytes(), use);
}

Task<std::vector<layout::Snapshot>> read_snapshots(BlockDevice* file,
                                                   const layout::Header& header) {
  layout::SnapshotTableDecoder decoder(header);
  while (!decoder.done()) {
    Buffer part(decoder.wanted());
    const ReadBuffers to(part.bytes());
    co_await read_zero_padded(file, decoder.offset().value(), to);
    decoder.feed(part.bytes());
  }
  co_return decoder.take();
}

Error with_filename(const Error& error, const std::string& filename) {
  if (!error.data().file.empty()) return error;
  if (!error.data().code.empty()) return error.with_file(filename);
  return error.hint().empty() ? error
                              : error.with_hint(fmt::format("'{}': {}", filename, error.hint()));
}

// Checks the options of the driver, in QEMU's order; returns the cache sizes.
CacheSizes check_options(const OpenOptions& options, const layout::Geometry& geometry,
                         uint64_t disk_size) {
  const auto require_version_3 = [&](bool is_used, Literal code, Literal option) {
    if (!is_used || geometry.version() >= 3) return;
    throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = code, .field = option},
                fmt::format("{} requires version 3, but the image has version {}", option.view(),
                            geometry.version()));
  };
  options.policy.validate();
  const CacheSizes sizes = CacheSizes::of(options.cache, geometry, disk_size);
  require_version_3(options.lazy_refcounts.value_or(false), "qcow2-lazy-refcounts-refused",
                    "lazy-refcounts");
  MetadataKinds::of(options.overlap_check);
  require_version_3(options.discard_no_unref, "qcow2-discard-no-unref-refused", "discard-no-unref");
  return sizes;
}

void check_encryption(const layout::Header& header, const OpenOptions& options) {
  if (header.crypt_method == layout::CryptMethod::kNone || options.metadata_only) return;
  throw Error(ErrorKind::kUnsupported, EINVAL,
              ErrorData{.code = "qcow2-is-encrypted",
                        .field = "crypt_method",
                        .value = static_cast<uint32_t>(header.crypt_method)},
              fmt::format("the image is encrypted ({}), and byre does not decrypt yet",
                          header.crypt_method == layout::CryptMethod::kAes ? "AES" : "LUKS"));
}

void check_data_file_flags(const layout::Header& header, const OpenOptions& options) {
  if (options.metadata_only || !header.has_raw_external_data()) return;
  if (header.has_external_data_file()) return;
  throw Error(ErrorKind::kCorrupt, EINVAL,
              ErrorData{.code = "qcow2-raw-data-bit-alone",
                        .field = "autoclear_features",
                        .value = header.autoclear_features},
              fmt::format("autoclear_features is 0x{:x}, with the raw external data bit, but the "
                          "external data file bit is not set",
                          header.autoclear_features));
}

Task<L1Table> load_l1(BlockDevice* file, HostOffset offset, uint32_t size, Literal code) {
  std::optional<Error> failure;
  try {
    co_return co_await L1Table::load(file, offset.value(), size);
  } catch (const Error& error) {
    failure = Error(
        error.kind(), error.errno_value(), ErrorData{.code = code, .offset = offset.value()},
        fmt::format("the L1 table at 0x{:x} cannot be read: {}", offset.value(), error.message()));
  }
  throw *failure;
}

// Reading the disk does not need the snapshots. A writer must know that the refcounts include their
// clusters, and QEMU's advice for errors there is not byre's.
Task<void> load_snapshots(LoadedImage* loaded) {
  std::optional<Error> failure;
  try {
    loaded->snapshots = co_await read_snapshots(loaded->file.get(), loaded->first_cluster.header);
    co_return;
  } catch (const Error& error) {
    failure = error;
  }
  const OpenOptions& options = loaded->options;
  if (options.writable) {
    throw failure->with_suffix(
        "\nThe disk can be read, and written to after check -r all, or byre check -r all "
        "--drop-unreadable, which removes snapshots that cannot be read");
  }
  if (options.on_warning) {
    options.on_warning(
        {WarningKind::kSnapshotsUnreadable, failure->with_prefix("The snapshots cannot be read")});
  }
}

// If a writer cannot read all bitmaps, it clears the bit that says that they are consistent.
Task<void> load_bitmaps(LoadedImage* loaded) {
  const layout::HeaderCluster& first = loaded->first_cluster;
  std::optional<Error> failure;
  try {
    const layout::Geometry geometry(first.header);
    loaded->bitmaps = co_await read_bitmap_list(loaded->file.get(), first.extensions, geometry,
                                                disk_size(first.header));
    co_return;
  } catch (const Error& error) {
    failure = error;
  }
  loaded->has_unreadable_bitmaps = true;
  const OpenOptions& options = loaded->options;
  if (options.for_check || !options.on_warning) co_return;
  const char* const consequence =
      options.writable ? "\nThey are all invalid once the image is written to; " : "\n";
  options.on_warning({WarningKind::kBitmapsUnreadable,
                      failure->with_prefix("The bitmaps cannot be used")
                          .with_suffix(consequence)
                          .with_suffix("check -r all removes those that are broken")});
}

Task<void> load_tables(LoadedImage* loaded) {
  const layout::Header& header = loaded->first_cluster.header;
  loaded->l1 = co_await load_l1(loaded->file.get(), header.l1_table_offset, header.l1_size,
                                "qcow2-l1-table-unreadable");
  check_data_file_flags(header, loaded->options);
  if (!loaded->options.for_check) co_await load_snapshots(loaded);
}

// A crash may have left wrong lazy refcounts, which must not be used for allocation. As in QEMU,
// other errors in the image do not prevent opening it.
Task<void> repair_dirty(LoadedImage* loaded) {
  constexpr char kNotChecked[] = "parts of it cannot be checked";
  RepairOptions options;
  options.check.on_finding = [loaded](const Finding& finding) {
    if (!loaded->options.on_warning || finding.kind == FindingKind::kBitmapTable) return;
    const bool is_skipped = finding.kind == FindingKind::kRefcountBlockNotRead;
    const WarningKind kind = is_skipped ? WarningKind::kCorrupt : WarningKind::kRepaired;
    loaded->options.on_warning({kind, problem_of(finding)});
  };
  std::optional<Error> failure;
  try {
    CheckSubject subject{loaded->file.get(), loaded->first_cluster.header,
                         loaded->first_cluster.extensions};
    const RepairResult result = co_await repair(std::move(subject), std::move(options));
    if (result.check.check_errors != 0) {
      failure = Error(ErrorKind::kIo, EIO, ErrorData{.code = "qcow2-dirty-image-not-repaired"},
                      kNotChecked);
    }
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) {
    throw Error(
        failure->kind(), failure->errno_value(),
        ErrorData{.code = "qcow2-dirty-image-not-repaired"},
        "the image was not closed properly, and cannot be repaired: " + failure->sentence());
  }
  const layout::HeaderUse use{.writable = true};
  loaded->first_cluster = co_await read_header(loaded->file.get(), use);
  loaded->is_repaired = true;
  co_await load_tables(loaded);
}

Task<void> load(LoadedImage* loaded) {
  const OpenOptions& options = loaded->options;
  const layout::HeaderUse use{.writable = options.writable, .for_check = options.for_check};
  loaded->first_cluster = co_await read_header(loaded->file.get(), use);
  const layout::Header& header = loaded->first_cluster.header;
  check_encryption(header, options);
  if (loaded->first_cluster.extensions.stale_bitmaps && options.on_warning) {
    options.on_warning({WarningKind::kStaleBitmaps, layout::stale_bitmaps_problem(header)});
  }
  const layout::Geometry geometry(header);
  loaded->cache_sizes = check_options(options, geometry, disk_size(header));
  co_await load_tables(loaded);
  const bool must_repair = options.writable && !options.for_check && header.is_dirty();
  if (must_repair) co_await repair_dirty(loaded);
  // The repair may have removed those that cannot be read.
  co_await load_bitmaps(loaded);
}

}  // namespace

Task<LoadedImage> load_image(std::unique_ptr<BlockDevice> file, OpenOptions options) {
  LoadedImage loaded{.file = std::move(file), .options = std::move(options)};
  std::optional<Error> failure;
  try {
    co_await load(&loaded);
    co_return loaded;
  } catch (const Error& error) {
    failure = with_filename(error, loaded.file->filename());
  }
  throw *failure;
}

Task<L1Table> load_snapshot_l1(BlockDevice* file, const layout::Snapshot* snapshot) {
  return load_l1(file, snapshot->l1_table_offset, snapshot->l1_size,
                 "qcow2-snapshot-l1-table-unreadable");
}

Task<std::unique_ptr<ImageParts>> ImageParts::open(std::unique_ptr<BlockDevice> file,
                                                   OpenOptions options) {
  LoadedImage loaded = co_await load_image(std::move(file), std::move(options));
  co_return std::make_unique<ImageParts>(std::move(loaded));
}

Task<std::unique_ptr<Image>> Image::open(std::unique_ptr<BlockDevice> file, OpenOptions options) {
  std::unique_ptr<ImageParts> parts =
      co_await ImageParts::open(std::move(file), std::move(options));
  co_return std::make_unique<Image>(std::move(parts));
}

Task<void> Image::load_snapshot(SnapshotSelector selector) {
  BYRE_ASSERT(is_read_only());
  const layout::Snapshot& snapshot = snapshots()[find_snapshot(snapshots(), selector)];
  snapshot.validate_l1(geometry());
  parts_->tables.l1 = co_await load_snapshot_l1(&file(), &snapshot);
}

}  // namespace byre::qcow2
