// SPDX-License-Identifier: Apache-2.0
#include "simulation/files.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "async/loop.h"
#include "byre/error.h"
#include "qcow2/layout/header.h"
#include "storage/memory_device.h"

namespace byre::simulation {

namespace {

using qcow2::layout::RawHeader;
using storage::MemoryDevice;

RawHeader header_of(const storage::SparseBytes& file) {
  RawHeader header{};
  const Bytes bytes(reinterpret_cast<uint8_t*>(&header), sizeof header);
  file.read(0, bytes.first(std::min<uint64_t>(file.size(), bytes.size())));
  return header;
}

Task<std::vector<uint8_t>> read_files(const Files* files, bool reads_base) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  BlockDevice* const device = reads_base ? image->backing() : image.get();
  std::vector<uint8_t> bytes;
  if (device != nullptr) bytes = co_await read_whole(device);
  co_await image->close();
  co_return bytes;
}

Task<Base> find_base(const Files* files) {
  const qcow2::OpenOptions options;
  const std::unique_ptr<qcow2::Image> image = co_await open_still(files, options);
  Base base{image->backing_filename(), image->backing_format()};
  co_await image->close();
  co_return base;
}

}  // namespace

Task<std::vector<uint8_t>> read_whole(BlockDevice* device) {
  std::vector<uint8_t> bytes(device->size());
  const ReadBuffers to((Bytes(bytes)));
  co_await device->read(0, to);
  co_return bytes;
}

OpenFile copies_of(const FilesByName* files) {
  return [files](const std::string& name) {
    const auto found = files->find(name);
    if (found == files->end()) throw Error::from_errno(ENOENT, "'" + name + "'");
    return std::make_unique<MemoryDevice>(found->second, name);
  };
}

Task<std::unique_ptr<BlockDevice>> open_base(Base base, OpenFile open_file) {
  if (base.name.empty()) co_return nullptr;
  std::unique_ptr<BlockDevice> file = open_file(base.name);
  if (base.format == "raw") co_return file;
  qcow2::OpenOptions options;
  options.writable = true;
  std::unique_ptr<qcow2::Image> image =
      co_await open_image(std::move(file), nullptr, std::move(open_file), options);
  co_return image;
}

Task<std::unique_ptr<qcow2::Image>> open_image(std::unique_ptr<BlockDevice> file,
                                               std::unique_ptr<BlockDevice> data,
                                               OpenFile open_file, qcow2::OpenOptions options,
                                               qcow2::ImageParts** parts,
                                               std::optional<Base> base) {
  std::unique_ptr<qcow2::ImageParts> owned =
      co_await qcow2::ImageParts::open(std::move(file), std::move(options));
  if (parts != nullptr) *parts = owned.get();
  auto image = std::make_unique<qcow2::Image>(std::move(owned));
  if (data) image->set_data_file(std::move(data));
  if (!base) base = Base{image->backing_filename(), image->backing_format()};
  std::unique_ptr<BlockDevice> backing = co_await open_base(*base, std::move(open_file));
  if (backing) image->set_backing(std::move(backing));
  co_return image;
}

Task<std::unique_ptr<qcow2::Image>> open_still(const Files* files, qcow2::OpenOptions options,
                                               std::optional<Base> base) {
  std::unique_ptr<BlockDevice> data;
  if (files->data) data = std::make_unique<MemoryDevice>(*files->data);
  auto file = std::make_unique<MemoryDevice>(files->file);
  OpenFile open_file = copies_of(&files->below);
  co_return co_await open_image(std::move(file), std::move(data), std::move(open_file),
                                std::move(options), nullptr, std::move(base));
}

storage::SparseBytes with_holes(storage::SparseBytes bytes) {
  constexpr uint64_t kChunk = storage::SparseBytes::kChunkSize;
  std::vector<uint8_t> part(kChunk);
  for (uint64_t at = 0; at + kChunk <= bytes.size(); at += kChunk) {
    bytes.read(at, part);
    if (std::ranges::all_of(part, [](uint8_t byte) { return byte == 0; })) bytes.clear(at, kChunk);
  }
  return bytes;
}

bool is_image(const storage::SparseBytes& file) {
  return header_of(file).magic == qcow2::layout::kMagic;
}

bool is_dirty(const storage::SparseBytes& image) {
  const RawHeader header = header_of(image);
  const uint64_t features = header.incompatible_features;
  return header.version >= 3 && (features & qcow2::layout::incompatible::kDirty) != 0;
}

std::vector<uint8_t> read_guest(const Files& files) {
  return sync_wait(read_files(&files, false));
}

Base base_of(const Files& files) {
  return sync_wait(find_base(&files));
}

std::vector<uint8_t> read_base(const Files& files) {
  return sync_wait(read_files(&files, true));
}

}  // namespace byre::simulation
