// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "qcow2/image/image.h"
#include "qcow2/image/image_parts.h"
#include "simulation/guest_model.h"
#include "simulation/plan.h"
#include "storage/sparse_bytes.h"

namespace byre::simulation {

// The files of an image that stand still: after a crash, or once it is closed.
struct Files {
  storage::SparseBytes file;
  std::optional<storage::SparseBytes> data;     // the external data file
  std::optional<storage::SparseBytes> backing;  // never written to
};

// The devices are given to the image, in the same order. `parts`, unless nullptr, is set to the
// image's parts.
Task<std::unique_ptr<qcow2::Image>> open_image(std::unique_ptr<BlockDevice> file,
                                               std::unique_ptr<BlockDevice> data,
                                               const std::optional<storage::SparseBytes>* backing,
                                               qcow2::OpenOptions options,
                                               qcow2::ImageParts** parts = nullptr);

// The dirty bit: with lazy refcounts a crash leaves them wrong, and says so.
bool is_dirty(const storage::SparseBytes& image);
// What is wrong with the image, in its own words; nothing: it is sound. Leaks are no fault after a
// crash.
std::optional<std::string> check_soundness(const Files& files, bool leaks_allowed);
// All bytes of the guest's disk.
std::vector<uint8_t> read_guest(const Files& files);

// An internal snapshot, and what the guest's disk held when it was made.
struct FrozenSnapshot {
  std::string id;
  std::vector<uint8_t> bytes;
};

// What must hold whenever the image is looked at.
struct Promise {
  const GuestModel* model = nullptr;
  const std::vector<FrozenSnapshot>* snapshots = nullptr;
  // What the disk held when its bitmap was made.
  const std::optional<std::vector<uint8_t>>* of_bitmap = nullptr;
  bool is_raw = false;  // the data file holds what the guest sees
};

// Whether what a crash left is what was promised. With `writes`, also that the image takes writes
// and is sound afterwards; what they are is drawn from `seed`.
std::optional<std::string> check_crash(const Files& files, const Promise& promise, bool writes,
                                       uint64_t seed);

}  // namespace byre::simulation
