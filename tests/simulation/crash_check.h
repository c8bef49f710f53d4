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

// The files of an image that is not open: after a crash, or after a close.
struct Files {
  storage::SparseBytes file;
  std::optional<storage::SparseBytes> data;     // the external data file
  std::optional<storage::SparseBytes> backing;  // never written to
};

// Opens an image; it takes ownership of the devices.
Task<std::unique_ptr<qcow2::Image>> open_image(std::unique_ptr<BlockDevice> file,
                                               std::unique_ptr<BlockDevice> data,
                                               const std::optional<storage::SparseBytes>* backing,
                                               qcow2::OpenOptions options,
                                               qcow2::ImageParts** parts = nullptr);

// Whether the dirty bit is set: with lazy refcounts a crash leaves them wrong, and the bit records
// that.
bool is_dirty(const storage::SparseBytes& image);
// What is wrong with the image, as its check reports it; nullopt if it is sound. Leaks are no error
// after a crash.
std::optional<std::string> check_soundness(const Files& files, bool leaks_allowed);
// The contents of the guest's disk.
std::vector<uint8_t> read_guest(const Files& files);

// An internal snapshot, and the contents of the guest's disk when it was made.
struct FrozenSnapshot {
  std::string name;
  std::vector<uint8_t> bytes;
  bool is_certain = true;  // else it may be there or not: it is being created or deleted
};

// Whether the image has a snapshot of that name.
bool has_snapshot(const Files& files, const std::string& name);

// What must be true whenever the image is examined.
struct Promise {
  const GuestModel* model = nullptr;
  const std::vector<FrozenSnapshot>* snapshots = nullptr;
  // The contents of the disk when its bitmap was made.
  const std::optional<std::vector<uint8_t>>* of_bitmap = nullptr;
  bool is_raw = false;  // the data file has the guest's view
};

// Checks that the files left by a crash are as promised; returns what is wrong. With `writes`, also
// that the image accepts writes, drawn from `seed`, and is sound afterwards.
std::optional<std::string> check_crash(const Files& files, const Promise& promise, bool writes,
                                       uint64_t seed);

}  // namespace byre::simulation
