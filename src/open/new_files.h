// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/task.h"
#include "block/block_device.h"
#include "byre/error.h"
#include "open/created_files.h"
#include "storage/file_device.h"

namespace byre::open {

// Properties of a new file that the file system may not support; what it does not support has no
// effect.
struct FileHints {
  bool nocow = false;                                  // no copy-on-write on btrfs
  std::optional<uint64_t> extent_size_hint;            // on XFS; 0: none; nothing: QEMU's default
  std::function<void(const std::string&)> on_warning;  // about hints that could not be applied
};

// The files of one new image. An existing one keeps its contents until empty(): everything that can
// be checked is checked before.
class NewFiles {
 public:
  // Adds the files that are new to `created`, which outlives this object.
  NewFiles(FileHints hints, CreatedFiles* created) : hints_(std::move(hints)), created_(created) {}

  // The file or device of that name, opened, and created if it does not exist. It belongs to this
  // object. Errors as of open_destination().
  Task<storage::FileDevice*> make(std::string filename);
  // Whether there are contents to lose.
  bool has_contents() const;
  // Truncates the files, and applies the hints to them. Devices keep their contents.
  Task<void> empty();
  Task<void> close();

 private:
  const FileHints hints_;
  CreatedFiles* const created_;
  std::vector<std::unique_ptr<storage::FileDevice>> devices_;
};

// Whether it keeps its size, and its former contents.
bool is_device(const storage::FileDevice& file);
// False for a device that is too small.
bool can_have_size(const storage::FileDevice& file, uint64_t size);

// Throws Error(kNoSpace) if the space for preallocation would not be available once the old
// contents are gone. The host may know better (quotas, compression), so this is only for files that
// have contents to lose.
void check_space(const storage::FileDevice& file, uint64_t needed, Preallocation preallocation);
// Whether the file system, or a limit, allows a file of this size is tested by extending it. Its
// contents are not touched. `file` outlives the task.
Task<void> try_size(storage::FileDevice& file, uint64_t size);

// A new image's file begins with zeroes. On a device they replace what would be taken for an image,
// or for a partition table; in a file they occupy the first block, which tools examine to learn how
// the file must be aligned: nothing is lost by it if the disk is full. QEMU writes as much. `file`
// outlives the task.
Task<void> write_first_block(storage::FileDevice& file);

}  // namespace byre::open
