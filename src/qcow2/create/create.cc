// SPDX-License-Identifier: Apache-2.0
#include "qcow2/create/create.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <exception>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/units.h"
#include "block/fixed_size.h"
#include "block/gathering_writer.h"
#include "byre/error.h"
#include "qcow2/create/creation_plan.h"
#include "qcow2/layout/header_cluster.h"
#include "qcow2/layout/l1_entry.h"
#include "qcow2/layout/l2_entry.h"
#include "qcow2/layout/refcount_entry.h"

// A new image is written back to front: space for the data, the tables, and last the header, so
// that a file whose creation stopped anywhere does not open as an image.
namespace byre::qcow2 {

namespace {

using layout::HostOffset;

std::vector<uint8_t> encode_with_qemu_errors(layout::HeaderCluster parts,
                                             const CreateOptions& options) {
  layout::HeaderCluster without_backing = parts;
  without_backing.backing_file_name.clear();
  try {
    std::vector<uint8_t> bytes = without_backing.encode();
    if (parts.backing_file_name.empty()) return bytes;
  } catch (const Error& error) {
    throw Error(error.kind(), error.errno_value(), ErrorData{.code = "qcow2-new-header-too-large"},
                error.message());
  }
  const auto refuse_backing = [&](int errno_value, const std::string& sentence) -> Error {
    return Error(Error::kind_of(errno_value), errno_value,
                 ErrorData{.code = "qcow2-backing-file-refused",
                           .field = "backing_file",
                           .text = options.backing_format.value_or(""),
                           .name = *options.backing_filename},
                 sentence);
  };
  constexpr uint32_t kNameSizeMax = layout::limits::kBackingFileNameSizeMax;
  if (parts.backing_file_name.size() > kNameSizeMax) {
    throw refuse_backing(EINVAL, fmt::format("backing_file has {} bytes; at most {} are allowed",
                                             parts.backing_file_name.size(), kNameSizeMax));
  }
  try {
    return parts.encode();
  } catch (const Error& error) {
    throw refuse_backing(error.errno_value(), error.message());
  }
}

std::vector<uint8_t> encode_header(const CreateOptions& options, const CreationPlan& plan,
                                   uint64_t size) {
  layout::HeaderCluster parts;
  layout::Header& header = parts.header;
  header.version = static_cast<uint32_t>(options.version);
  header.cluster_bits = static_cast<uint32_t>(std::countr_zero(options.cluster_size));
  header.size = size;
  header.l1_size = static_cast<uint32_t>(plan.l1_entries);
  header.l1_table_offset = HostOffset(plan.l1_table * plan.cluster_size);
  header.refcount_table_offset = HostOffset(plan.refcount_table * plan.cluster_size);
  header.refcount_table_clusters = static_cast<uint32_t>(plan.refcount_table_clusters);
  header.refcount_order = static_cast<uint32_t>(std::countr_zero(options.refcount_bits));
  if (options.version < 3) header.header_length = layout::limits::kHeaderSizeV2;
  if (options.data_filename) {
    header.incompatible_features |= layout::incompatible::kExternalDataFile;
    parts.extensions.data_file_name = *options.data_filename;
  }
  if (options.compression_type != CompressionType::kZlib) {
    header.incompatible_features |= layout::incompatible::kCompressionType;
    header.compression_type = options.compression_type;
  }
  if (options.extended_l2) header.incompatible_features |= layout::incompatible::kExtendedL2;
  if (options.lazy_refcounts) header.compatible_features |= layout::compatible::kLazyRefcounts;
  if (options.data_file_raw) header.autoclear_features |= layout::autoclear::kRawExternalData;
  if (options.version >= 3 && options.cluster_size >= layout::limits::kFeatureNamesClusterSizeMin) {
    parts.extensions.feature_names = layout::known_feature_names();
  }
  parts.extensions.backing_format = options.backing_format;
  parts.backing_file_name = options.backing_filename.value_or("");
  return encode_with_qemu_errors(std::move(parts), options);
}

class Creation {
 public:
  Creation(BlockDevice* file, BlockDevice* data_file, const CreateOptions* options)
      : file_(file),
        data_file_(data_file),
        options_(*options),
        size_(align_up(options->size, kSectorSize)),
        plan_(CreationPlan::make(*options, size_)),
        header_(encode_header(*options, plan_, size_)),
        tables_(file) {}

  Task<void> run() {
    check_fixed_size();
    std::exception_ptr error;
    try {
      co_await reserve_data();
      co_await write_tables();
      const WriteBuffers header((ConstBytes(header_)));
      co_await file_->write(0, header);
      if (data_file_ != nullptr) co_await data_file_->flush();
      co_await file_->flush();
    } catch (...) {
      error = std::current_exception();
    }
    if (!error) co_return;
    // The header may have been written, completely or in part. The first error is the one to
    // report.
    try {
      co_await file_->write_zeroes(0, layout::Header::kProbeSize, WriteFlags::kNone);
    } catch (const Error&) {
    }
    std::rethrow_exception(error);
  }

 private:
  uint64_t cluster_size() const { return plan_.cluster_size; }

  // Mapped data extends to the end of its last subcluster, as in QEMU.
  uint64_t mapped_size() const {
    return align_up(size_, options_.extended_l2
                               ? cluster_size() / layout::limits::kSubclustersPerCluster
                               : cluster_size());
  }

  // The end of a file whose data clusters are preallocated without being written.
  uint64_t preallocated_size() const {
    const DataRun last = plan_.data.back();
    const uint64_t unused = (last.guest_cluster + last.count) * cluster_size() - mapped_size();
    const bool data_is_last = last.host_cluster + last.count == plan_.clusters;
    return plan_.clusters * cluster_size() - (data_is_last ? unused : 0);
  }

  // Checks before anything is written: a device that is too small keeps its contents.
  void check_fixed_size() const {
    if (file_->limits().grows) return;
    check_preallocation();
    check_room_for_tables();
  }

  void check_preallocation() const {
    if (plan_.data.empty()) return;
    if (options_.preallocation != Preallocation::kMetadata) {
      throw preallocation_on_device(*file_, options_.preallocation);
    }
    if (preallocated_size() > file_->size()) throw device_too_small(*file_, preallocated_size());
  }

  // QEMU writes one after the other and reports which one failed.
  void check_room_for_tables() const {
    const uint64_t room = file_->size();
    uint64_t refcounts_end = plan_.refcount_table + plan_.refcount_table_clusters;
    for (const uint64_t block : plan_.refcount_blocks) {
      refcounts_end = std::max(refcounts_end, block + 1);
    }
    const uint64_t l1_end = plan_.l1_table * cluster_size() + plan_.l1_entries * 8;
    const auto check_room = [room](uint64_t end, Literal code, const char* what) {
      if (end <= room) return;
      throw Error(ErrorKind::kNoSpace, ENOSPC, ErrorData{.code = code, .value = room, .bound = end},
                  fmt::format("the device has {} bytes; {} would end at {}", room, what, end));
    };
    check_room(cluster_size(), "qcow2-no-room-for-header", "the header");
    check_room(refcounts_end * cluster_size(), "qcow2-no-room-for-refcounts", "the refcounts");
    check_room(l1_end, "qcow2-no-room-for-l1-table", "the L1 table");
  }

  // Whether host bytes from `offset` on existed before, with unknown contents.
  bool has_old_bytes(uint64_t offset) const {
    // A raw external data file is the guest's disk as it is.
    return offset < old_end_ && !options_.data_file_raw;
  }

  // Version 2 has no entries for allocated zero clusters.
  Task<void> clear_old_bytes() {
    for (const DataRun& run : plan_.data) {
      const uint64_t begin = run.host_cluster * cluster_size();
      const uint64_t end = std::min(begin + run.count * cluster_size(), old_end_);
      if (begin >= end) continue;
      co_await file_->write_zeroes(begin, end - begin, WriteFlags::kMayUnmap);
    }
  }

  Task<void> reserve_data() {
    old_end_ = data_file_ != nullptr ? data_file_->size() : file_->size();
    const uint64_t data_size = plan_.l2_tables.empty() ? size_ : mapped_size();
    if (data_file_ != nullptr && data_file_->size() < data_size) {
      // Preallocating metadata does not involve the data file.
      const Preallocation wanted = options_.preallocation == Preallocation::kMetadata
                                       ? Preallocation::kOff
                                       : options_.preallocation;
      co_await data_file_->resize(data_size, wanted);
    }
    // Whatever the file contained, from here on it is not an image.
    if (file_->size() > 0) {
      const uint64_t length = std::min(file_->size(), cluster_size());
      co_await file_->write_zeroes(0, length, WriteFlags::kNone);
    }
    if (options_.version < 3) co_await clear_old_bytes();
    if (plan_.data.empty() || !file_->limits().grows) co_return;
    const bool in_one_piece = options_.preallocation != Preallocation::kMetadata;
    if (!in_one_piece) {
      co_await grow(preallocated_size(), Preallocation::kOff);
      co_return;
    }
    const DataRun data = plan_.data.front();
    co_await grow(data.host_cluster * cluster_size(), Preallocation::kOff);
    co_await grow((data.host_cluster + data.count) * cluster_size(), options_.preallocation);
  }

  Task<void> grow(uint64_t new_size, Preallocation preallocation) {
    if (file_->size() < new_size) co_await file_->resize(new_size, preallocation);
  }

  Task<void> write_tables() {
    co_await write_refcount_table();
    co_await write_refcount_blocks();
    co_await write_l1_table();
    co_await write_l2_tables();
    co_await tables_.finish();
  }

  Task<void> write_refcount_table() {
    const uint64_t per_cluster = cluster_size() / 8;
    for (uint64_t cluster = 0; cluster < plan_.refcount_table_clusters; ++cluster) {
      const Bytes room = co_await tables_.reserve((plan_.refcount_table + cluster) * cluster_size(),
                                                  cluster_size());
      const uint64_t first = cluster * per_cluster;
      const uint64_t end = std::min<uint64_t>(first + per_cluster, plan_.refcount_blocks.size());
      for (uint64_t index = first; index < end; ++index) {
        const HostOffset block(plan_.refcount_blocks[index] * cluster_size());
        store_big_endian<uint64_t>(&room[(index - first) * 8],
                                   layout::RefcountTableEntry::block(block).word());
      }
    }
  }

  // Every cluster below the end is in use, with a refcount of 1.
  Task<void> write_refcount_blocks() {
    const uint64_t per_block = cluster_size() * 8 / options_.refcount_bits;
    const auto order = static_cast<uint32_t>(std::countr_zero(options_.refcount_bits));
    for (uint64_t index = 0; index < plan_.refcount_blocks.size(); ++index) {
      const uint64_t offset = plan_.refcount_blocks[index] * cluster_size();
      const Bytes room = co_await tables_.reserve(offset, cluster_size());
      const uint64_t used = std::min(per_block, plan_.clusters - index * per_block);
      for (uint64_t entry = 0; entry < used; ++entry) {
        layout::store_refcount(room, entry, order, 1);
      }
    }
  }

  Task<void> write_l1_table() {
    constexpr uint64_t kZeroesAtOnce = 64 * kKiB;
    const uint64_t size = plan_.l1_entries * 8;
    const uint64_t offset = plan_.l1_table * cluster_size();
    if (plan_.l2_tables.empty() && size > kZeroesAtOnce) {
      co_await tables_.finish();
      co_await file_->write_zeroes(offset, size, WriteFlags::kNone);
      co_return;
    }
    for (uint64_t done = 0; done < size;) {
      const uint64_t part = std::min(size - done, kZeroesAtOnce);
      const Bytes room = co_await tables_.reserve(offset + done, part);
      for (uint64_t at = 0; at < part && !plan_.l2_tables.empty(); at += 8) {
        const HostOffset table(plan_.l2_tables[(done + at) / 8] * cluster_size());
        store_big_endian<uint64_t>(&room[at], layout::L1Entry::table(table, true).word());
      }
      done += part;
    }
  }

  Task<void> write_l2_tables() {
    const uint64_t entry_size = options_.extended_l2 ? 16 : 8;
    const uint64_t entries = cluster_size() / entry_size;
    const uint64_t guest_clusters = div_ceil(size_, cluster_size());
    size_t run = 0;
    for (uint64_t table = 0; table < plan_.l2_tables.size(); ++table) {
      const Bytes room =
          co_await tables_.reserve(plan_.l2_tables[table] * cluster_size(), cluster_size());
      const uint64_t first = table * entries;
      const uint64_t end = std::min(first + entries, guest_clusters);
      for (uint64_t guest = first; guest < end; ++guest) {
        const HostOffset host(host_cluster_of(guest, &run) * cluster_size());
        // With extended L2 entries the bitmap stays 0: the cluster is allocated, but its
        // subclusters are still those of the backing file, or zeroes.
        const bool says_zero =
            has_old_bytes(host.value()) && options_.version >= 3 && !options_.extended_l2;
        store_big_endian<uint64_t>(
            &room[(guest - first) * entry_size],
            host.value() | layout::L2Entry::kCopied | (says_zero ? layout::L2Entry::kZero : 0));
      }
    }
  }

  // Guest clusters are queried in ascending order; `run` remembers the position.
  uint64_t host_cluster_of(uint64_t guest, size_t* run) const {
    if (plan_.data.empty()) return guest;  // external data file
    while (guest >= plan_.data[*run].guest_cluster + plan_.data[*run].count) ++*run;
    return plan_.data[*run].host_cluster + (guest - plan_.data[*run].guest_cluster);
  }

  BlockDevice* file_;
  BlockDevice* data_file_;
  const CreateOptions& options_;
  uint64_t size_;
  uint64_t old_end_ = 0;  // old end of the device with the guest's data
  CreationPlan plan_;
  std::vector<uint8_t> header_;
  static_assert(GatheringWriter::kPieceMax >= layout::limits::kClusterSizeMax);
  GatheringWriter tables_;
};

}  // namespace

void validate_header(const CreateOptions& options) {
  validate(options);
  const uint64_t size = align_up(options.size, kSectorSize);
  encode_header(options, CreationPlan::make(options, size), size);
}

Task<void> create(BlockDevice& file, BlockDevice* data_file, CreateOptions options) {
  validate(options);
  if (options.data_filename.has_value() != (data_file != nullptr)) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "An external data file must be given where the options name one, and only there");
  }
  Creation creation(&file, data_file, &options);
  co_await creation.run();
}

}  // namespace byre::qcow2
