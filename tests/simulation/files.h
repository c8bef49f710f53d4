// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "storage/sparse_bytes.h"

namespace byre::simulation {

// A backing file as a header names it: raw, or an image that may have one, too.
struct Base {
  std::string name;  // empty: none
  std::string format;
};

using FilesByName = std::map<std::string, storage::SparseBytes>;

// What an image is on: its backing file, and the files that names below it may mean.
struct Below {
  Base base;
  FilesByName files;
};

// The files of an image that is not open: after a crash, or after a close.
struct Files {
  storage::SparseBytes file;
  std::optional<storage::SparseBytes> data = std::nullopt;  // the external data file
  FilesByName below = {};
};

// Opens the file of that name.
using OpenFile = std::function<std::unique_ptr<BlockDevice>(const std::string& name)>;
// Each is opened as a copy. `files` outlives what it returns.
OpenFile copies_of(const FilesByName* files);

// Opens a backing file with everything below it; nullptr: there is none. Images are opened for
// writing, as for a commit.
Task<std::unique_ptr<BlockDevice>> open_base(Base base, OpenFile open_file);

// Opens an image; it takes ownership of the devices. `base` replaces the backing file that the header
// names.
Task<std::unique_ptr<qcow2::Image>> open_image(std::unique_ptr<BlockDevice> file,
                                               std::unique_ptr<BlockDevice> data,
                                               OpenFile open_file, qcow2::OpenOptions options,
                                               qcow2::ImageParts** parts = nullptr,
                                               std::optional<Base> base = std::nullopt);
Task<std::unique_ptr<qcow2::Image>> open_still(const Files* files, qcow2::OpenOptions options,
                                               std::optional<Base> base = std::nullopt);

// As in a new file of a file system: chunks of zeroes are holes.
storage::SparseBytes with_holes(storage::SparseBytes bytes);
// Whether the file is an image, by its first bytes.
bool is_image(const storage::SparseBytes& file);
// Whether the dirty bit is set: with lazy refcounts a crash leaves them wrong, and the bit records
// that.
bool is_dirty(const storage::SparseBytes& image);

Task<std::vector<uint8_t>> read_whole(BlockDevice* device);
// The contents of the guest's disk.
std::vector<uint8_t> read_guest(const Files& files);
// The backing file that the header names, and its contents.
Base base_of(const Files& files);
std::vector<uint8_t> read_base(const Files& files);

}  // namespace byre::simulation
