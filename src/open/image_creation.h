// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "async/task.h"
#include "block/block_device.h"
#include "open/creation_options.h"
#include "open/new_files.h"
#include "storage/file_device.h"

namespace byre::open {

// The size of a new image's file in bytes.
struct NewImageSize {
  uint64_t required = 0;
  uint64_t fully_allocated = 0;
};

// The part of `measure` that depends on the format.
struct SizeEstimate {
  // The unit in which space for the guest's data is allocated; 0: the size of the file does not
  // depend on the data.
  uint64_t allocation_unit = 0;
  // Of a disk of `disk_size` bytes with data in units of `allocated` bytes together. Throws Error
  // with QEMU's message for invalid options.
  std::function<NewImageSize(uint64_t disk_size, uint64_t allocated)> file_size;
  // The size of the source's bitmaps in the new image, including tables and directory; nothing if
  // source or new image cannot have any. nullptr: the new image cannot.
  std::function<std::optional<uint64_t>(BlockDevice& source)> bitmaps_size;
};

// A new image in a file without a name, opened for writing.
struct UnnamedImage {
  std::unique_ptr<storage::FileDevice> file;
  std::unique_ptr<BlockDevice> image;  // on `file`; closing it does not close the file
};

// How images of a format are created. Error messages are QEMU's.
struct ImageCreation {
  // The format's options, in the order in which QEMU prints them in its "Formatting" line.
  std::span<const OptionDescription> (*options)() = nullptr;
  // Its images can have compressed clusters.
  bool supports_compression = false;
  // The new files of an image that could not be created are removed. If not, they stay, empty, as
  // QEMU leaves those of a raw image.
  bool removes_failed = false;
  // Throws Error if the format does not accept a value, or if options contradict each other.
  // Touches nothing.
  void (*validate)(const CreationOptions& options) = nullptr;
  // Creates the files and the image in them, flushed; the files stay open. Everything that can be
  // checked is checked before the contents of an existing file are lost.
  // REQUIRES: validate() accepts the options. `options` and `files` outlive the task.
  Task<void> (*create)(std::string filename, const CreationOptions& options,
                       NewFiles& files) = nullptr;
  // Creates and opens an image in an unnamed file, from which it can be sent to a pipe once it is
  // closed. `name` is for messages. Validates the options; they outlive the task. nullptr: the file
  // of an image is the disk's bytes in order, which can be sent to a pipe without a file.
  Task<UnnamedImage> (*create_unnamed)(std::string name, const CreationOptions& options,
                                       int compression_level) = nullptr;
  // Unlike validate(), ignores options that do not influence the size.
  SizeEstimate (*measure)(const CreationOptions& options) = nullptr;
};

extern const ImageCreation kRawCreation;
extern const ImageCreation kQcow2Creation;

}  // namespace byre::open
