// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "block/block_device.h"
#include "jobs/convert_images.h"
#include "jobs/piped_image.h"
#include "jobs/source_states.h"
#include "open/created_files.h"
#include "open/creation_options.h"
#include "storage/cache_mode.h"
#include "storage/file_facts.h"

namespace byre::jobs {

// The target of a conversion: a new image in a file or for a pipe, or an existing one.
class ConvertTarget {
 public:
  // Both outlive it; the sources are open.
  ConvertTarget(const ConvertJob* job, const std::vector<std::unique_ptr<BlockDevice>>* sources)
      : job_(*job), sources_(*sources) {}

  // The new image must be able to have the source's snapshots. Call before open(); `states` outlives
  // it.
  void require_snapshots(const SourceStates* states) { states_ = states; }
  // Creates the image if the job asks for it, and opens it for `size` bytes of the sources.
  Task<void> open(uint64_t size);
  // REQUIRES: open() has succeeded; valid until close() or finish().
  BlockDevice& device() const { return *device_; }
  // Whether it has a backing file with the contents of the source's.
  bool has_backing() const { return has_backing_; }
  // Whether what is written must be written in the order of offsets, one request after the other.
  bool is_sequential() const { return pipe_ && pipe_->is_sequential(); }
  // Whether it reads as zeroes where nothing was written.
  bool is_zero() const;

  // Sends to the pipe what has not been sent yet.
  Task<void> finish();
  // Always called, after success or failure.
  Task<void> close();
  // Removes the files that open() created.
  void remove_new_files() { made_.remove(); }

 private:
  std::string format() const { return job_.target_format.value_or("raw"); }
  open::CreationOptions creation_options(uint64_t size) const;
  void check_backing_options(const open::CreationOptions& options) const;
  void check_compression(const open::CreationOptions& options) const;
  Task<void> create(uint64_t size);
  Task<void> check_before_loss(const open::CreationOptions& options) const;
  Task<void> try_to_open_file() const;
  Task<void> check_backing(const open::CreationOptions& options, FileIdentity target) const;
  Task<void> open_image();
  std::set<FileIdentity> source_files() const;
  void refuse_sources() const;
  void check(uint64_t size) const;

  const ConvertJob& job_;
  const std::vector<std::unique_ptr<BlockDevice>>& sources_;
  const SourceStates* states_ = nullptr;
  storage::CacheMode cache_ = storage::CacheMode::kUnsafe;
  bool has_backing_ = false;
  open::CreatedFiles made_;
  std::unique_ptr<PipedImage> pipe_;
  std::unique_ptr<BlockDevice> image_;
  BlockDevice* device_ = nullptr;  // image_, or in pipe_
};

// The cache mode of that name, for `what`, "cache" or "source cache".
storage::CacheMode cache_mode_named(const std::string& name, const std::string& what);

}  // namespace byre::jobs
