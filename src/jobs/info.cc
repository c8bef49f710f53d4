// SPDX-License-Identifier: Apache-2.0
#include "jobs/info.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <memory>
#include <set>
#include <utility>

#include "block/close_after.h"
#include "block/read_zero_padded.h"
#include "byre/error.h"
#include "open/image_name.h"
#include "open/node_options.h"
#include "open/raw_device.h"

namespace byre::jobs {
namespace {

Task<std::optional<codec::LuksHeader>> read_luks(qcow2::Image& image) {
  if (image.header().crypt_method != qcow2::layout::CryptMethod::kLuks) co_return std::nullopt;
  const auto& pointer = image.extensions().crypto_header;
  if (!pointer.has_value()) co_return std::nullopt;
  std::vector<uint8_t> bytes(codec::LuksHeader::kSize);
  const ReadBuffers to((Bytes(bytes)));
  co_await read_zero_padded(&image.file(), pointer->offset.value(), to);
  co_return codec::LuksHeader::parse(bytes);
}

std::optional<int64_t> instruction_count(const qcow2::layout::Snapshot& snapshot) {
  // All ones means that the guest's instructions were not counted.
  if (!snapshot.icount.has_value() || *snapshot.icount == UINT64_MAX) return std::nullopt;
  return static_cast<int64_t>(*snapshot.icount);
}

SnapshotInfo snapshot_info(const qcow2::layout::Snapshot& snapshot) {
  SnapshotInfo info;
  info.id = snapshot.id;
  info.name = snapshot.name;
  info.vm_state_size = snapshot.vm_state_size;
  info.date_sec = snapshot.date_sec;
  info.date_nsec = snapshot.date_nsec;
  info.vm_clock_nsec = snapshot.vm_clock_nsec;
  info.instruction_count = instruction_count(snapshot);
  return info;
}

Encryption encryption_of(const qcow2::layout::Header& header) {
  switch (header.crypt_method) {
    case qcow2::layout::CryptMethod::kNone:
      return Encryption::kNone;
    case qcow2::layout::CryptMethod::kAes:
      return Encryption::kAes;
    case qcow2::layout::CryptMethod::kLuks:
      return Encryption::kLuks;
  }
  return Encryption::kNone;
}

void take_header(const qcow2::layout::Header& header, Qcow2Info& info) {
  info.version = header.version;
  info.compression_type = header.compression_type;
  info.refcount_bits = header.refcount_bits();
  info.has_lazy_refcounts = header.has_lazy_refcounts();
  info.is_corrupt = header.is_corrupt();
  info.has_extended_l2 = header.has_extended_l2();
  info.has_data_file = header.has_external_data_file();
  info.has_raw_data_file = header.has_raw_external_data();
  info.encryption = encryption_of(header);
}

Task<Qcow2Info> qcow2_info(qcow2::Image& image) {
  Qcow2Info info;
  take_header(image.header(), info);
  info.vm_state_offset = image.vm_state_start();
  if (!info.has_data_file) info.snapshots = snapshot_infos(image);
  for (const auto& bitmap : image.bitmaps()) {
    info.bitmaps.push_back(
        {bitmap.text(), bitmap.granularity(), bitmap.in_use(), bitmap.is_auto()});
  }
  info.luks = co_await read_luks(image);
  info.data_filename = image.extensions().data_file_name;
  info.backing_filename = image.backing_filename();
  info.backing_format = image.backing_format();
  if (!info.backing_filename.empty()) {
    info.backing_path = open::resolve_relative(leaf_of(image).filename(), info.backing_filename);
  }
  co_return info;
}

// Raw images and filters show the properties of the device below.
void look_through(ImageInfo& info) {
  if (info.qcow2) return;
  if (info.format == "file" || info.format == "host_device") {
    info.is_dirty = false;
  } else if (!info.children.empty()) {
    info.cluster_size = info.children.back().info.cluster_size;
    info.is_dirty = info.children.back().info.is_dirty;
  }
}

// XFS has such hints, and QEMU sets one for every new file there.
uint64_t extent_size_hint(const std::string& filename) {
  const int fd = ::open(filename.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return 0;
  struct fsxattr attributes{};
  const bool is_known = ioctl(fd, FS_IOC_FSGETXATTR, &attributes) == 0;
  ::close(fd);
  return is_known ? attributes.fsx_extsize : 0;
}

// A file, by name and, if the host has one, by identity.
struct Visited {
  std::set<std::string> names;
  std::set<std::pair<dev_t, ino_t>> files;

  bool add(const std::string& filename) {
    if (!names.insert(filename).second) return false;
    struct stat status{};
    if (stat(filename.c_str(), &status) != 0) return true;  // opening it will report why
    return files.emplace(status.st_dev, status.st_ino).second;
  }
};

}  // namespace

std::vector<SnapshotInfo> snapshot_infos(const qcow2::Image& image) {
  std::vector<SnapshotInfo> infos;
  for (const qcow2::layout::Snapshot& snapshot : image.snapshots()) {
    infos.push_back(snapshot_info(snapshot));
  }
  return infos;
}

Task<ImageInfo> device_info(BlockDevice& device) {
  ImageInfo info;
  info.filename = device.filename();
  info.format = device.driver();
  info.size = open::whole_sectors(device.size());
  info.allocated_size = device.allocated_size();
  if (info.format == "file") info.extent_size_hint = extent_size_hint(info.filename);
  if (qcow2::Image* const image = open::as_qcow2(&device)) {
    Qcow2Info details = co_await qcow2_info(*image);
    info.qcow2 = std::move(details);
    info.cluster_size = image->header().cluster_size();
    info.is_dirty = image->header().is_dirty();
  }
  // The one that was opened last comes first.
  const std::vector<ChildDevice> children = device.children();
  for (auto child = children.rbegin(); child != children.rend(); ++child) {
    ImageInfo below = co_await device_info(*child->device);
    info.children.push_back({child->name, std::move(below)});
  }
  look_through(info);
  co_return info;
}

Task<ImageInfo> image_info(std::string filename, open::ImageOptions options) {
  options.no_backing = true;
  options.metadata_only = true;
  std::unique_ptr<BlockDevice> device = co_await open::open_image(filename, options);
  std::exception_ptr error;
  ImageInfo info;
  try {
    info = co_await device_info(*device);
  } catch (const Error& failure) {
    error = std::make_exception_ptr(failure.with_prefix("Could not open '" + filename + "'"));
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_after(device.get(), error);
  co_return info;
}

Task<std::vector<ImageInfo>> chain_info(std::string filename, open::ImageOptions options) {
  std::vector<ImageInfo> chain;
  Visited visited;
  for (;;) {
    if (!visited.add(filename)) {
      throw Error(ErrorKind::kInvalidArgument, ELOOP,
                  ErrorData{.code = "info-backing-chain-endless", .name = filename},
                  "the backing file '" + filename + "' is in its own backing chain");
    }
    ImageInfo info = co_await image_info(filename, options);
    chain.push_back(std::move(info));
    const std::optional<Qcow2Info>& details = chain.back().qcow2;
    if (!details.has_value() || details->backing_filename.empty()) break;
    filename = details->backing_path;
    options.tree = open::OptionTree();
    options.name_is_tree = false;
    options.format.reset();
    if (!details->backing_format.empty()) options.format = details->backing_format;
  }
  co_return chain;
}

}  // namespace byre::jobs
