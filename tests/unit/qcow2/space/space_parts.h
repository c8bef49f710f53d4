// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "qcow2/create/create.h"
#include "qcow2/image/image_parts.h"
#include "storage/memory_device.h"

// Refcounts and the allocator without an image around them: on a context, a cache and an overlap
// check.
namespace byre::qcow2::test {

inline std::unique_ptr<storage::MemoryDevice> new_image(uint64_t cluster_size, uint64_t clusters) {
  auto file = std::make_unique<storage::MemoryDevice>();
  CreateOptions options;
  options.size = clusters * cluster_size;
  options.cluster_size = cluster_size;
  sync_wait(create(*file, nullptr, options));
  return file;
}

class SpaceParts : public testing::Test {
 protected:
  SpaceParts(std::unique_ptr<BlockDevice> file, uint32_t slice_size)
      : SpaceParts(load(std::move(file)), slice_size) {}

 private:
  static LoadedImage load(std::unique_ptr<BlockDevice> file) {
    OpenOptions options;
    options.writable = true;
    Loop loop;
    return loop.run(load_image(std::move(file), options));
  }
  SpaceParts(LoadedImage loaded, uint32_t slice_size)
      : context_(std::move(loaded.file), loaded.options, loaded.first_cluster),
        l1_(std::move(loaded.l1)),
        cache_(&context_.storage, {.name = "refcount block", .slice_size = slice_size}) {
    loop_.run(refcounts_.load());
  }

 protected:
  Loop loop_;
  Context context_;
  L1Table l1_;
  const std::vector<layout::Snapshot> snapshots_;
  TableCache cache_;
  OverlapCheck overlap_{&context_, {}, &l1_, &snapshots_};
  Refcounts refcounts_{&context_, &cache_, &overlap_};
  Allocator allocator_{&context_, &cache_, &refcounts_, &overlap_};
};

}  // namespace byre::qcow2::test
