// SPDX-License-Identifier: Apache-2.0
#include "jobs/snapshots.h"

#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <utility>

#include "byre/error.h"

namespace byre::jobs {
namespace {

using Images = std::vector<std::unique_ptr<BlockDevice>>;

// Closes all; the first error is thrown, `error` before that of closing.
Task<void> close_all(Images* images, std::exception_ptr error) {
  for (const std::unique_ptr<BlockDevice>& image : *images) {
    try {
      co_await image->close();
    } catch (const Error&) {
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

Task<std::unique_ptr<BlockDevice>> open_writable(const SnapshotTarget& target) {
  open::ImageOptions options = target.image;
  options.writable = true;
  co_return co_await open::open_image(target.filename, std::move(options));
}

qcow2::NewSnapshot named_now(std::string name) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now);
  qcow2::NewSnapshot snapshot;
  snapshot.name = std::move(name);
  snapshot.date_sec = static_cast<uint32_t>(seconds.count());
  snapshot.date_nsec = static_cast<uint32_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(now - seconds).count());
  return snapshot;
}

qcow2::Image* image_of(BlockDevice* device) {
  qcow2::Image* const image = open::as_qcow2(device);
  if (image != nullptr) return image;
  throw Error(ErrorKind::kUnsupported, ENOTSUP, ErrorData{.code = "format-without-snapshots"},
              std::string("images of the format ") + device->driver() + " have no snapshots");
}

// The snapshots that create_snapshots() made have the highest id of their image.
Task<void> delete_newest(BlockDevice* device) {
  qcow2::Image* const image = open::as_qcow2(device);
  qcow2::SnapshotSelector selector;
  selector.id = image->snapshots().back().id;
  co_await image->delete_snapshot(std::move(selector));
}

Task<void> create_in_all(const Images* images, const std::vector<SnapshotTarget>* targets,
                         std::string name) {
  const qcow2::NewSnapshot snapshot = named_now(std::move(name));
  size_t created = 0;
  std::optional<Error> failure;
  try {
    for (; created < images->size(); ++created) {
      co_await image_of((*images)[created].get())->create_snapshot(snapshot);
    }
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) co_return;
  if (images->size() > 1) failure = failure->with_prefix((*targets)[created].filename);
  while (created > 0) {
    --created;
    try {
      co_await delete_newest((*images)[created].get());
    } catch (const Error& error) {
      failure = failure->with_hint("the snapshot of '" + (*targets)[created].filename +
                                   "' could not be deleted again: " + error.message());
    }
  }
  throw *failure;
}

Task<std::optional<uint64_t>> exclusive_size(qcow2::Image* image, std::string id) {
  qcow2::SnapshotSelector selector;
  selector.id = std::move(id);
  try {
    co_return co_await image->size_freed_by_deleting(std::move(selector));
  } catch (const Error&) {
    co_return std::nullopt;
  }
}

Task<std::vector<SnapshotUse>> list_in(BlockDevice* device, SnapshotDetails details) {
  std::vector<SnapshotUse> uses;
  qcow2::Image* const image = open::as_qcow2(device);
  if (image == nullptr) co_return uses;
  for (SnapshotInfo& info : snapshot_infos(*image)) {
    SnapshotUse use{.info = std::move(info), .exclusive_size = std::nullopt};
    if (details == SnapshotDetails::kWithUse) {
      use.exclusive_size = co_await exclusive_size(image, use.info.id);
    }
    uses.push_back(std::move(use));
  }
  co_return uses;
}

// Runs a task on open images, and closes them.
Task<void> finish(Images* images, Task<void> task) {
  std::exception_ptr error;
  try {
    co_await std::move(task);
  } catch (const Error& failure) {
    error = std::make_exception_ptr(SnapshotError(failure));
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_all(images, error);
}

Task<void> apply_in(BlockDevice* device, std::string id_or_name) {
  qcow2::SnapshotSelector selector;
  selector.id_or_name = std::move(id_or_name);
  co_await image_of(device)->apply_snapshot(std::move(selector));
}

Task<void> delete_in(BlockDevice* device, std::string name) {
  qcow2::SnapshotSelector selector;
  selector.name = std::move(name);
  qcow2::Image* const image = open::as_qcow2(device);
  if (image == nullptr) {
    throw Error(ErrorKind::kNotFound, ENOENT, ErrorData{.code = "qcow2-snapshot-not-found"},
                "the image has no such snapshot");
  }
  co_await image->delete_snapshot(std::move(selector));
}

}  // namespace

Task<std::vector<SnapshotUse>> list_snapshots(std::string filename, open::ImageOptions options,
                                              SnapshotDetails details) {
  Images images;
  std::unique_ptr<BlockDevice> image =
      co_await open::open_image(std::move(filename), std::move(options));
  images.push_back(std::move(image));
  std::vector<SnapshotUse> uses;
  std::exception_ptr error;
  try {
    uses = co_await list_in(images.front().get(), details);
  } catch (...) {
    error = std::current_exception();
  }
  co_await close_all(&images, error);
  co_return uses;
}

Task<void> create_snapshots(std::vector<SnapshotTarget> targets, std::string name) {
  Images images;
  for (const SnapshotTarget& target : targets) {
    std::unique_ptr<BlockDevice> image = co_await open_writable(target);
    images.push_back(std::move(image));
  }
  co_await finish(&images, create_in_all(&images, &targets, std::move(name)));
}

Task<void> apply_snapshot(SnapshotTarget target, std::string id_or_name) {
  Images images;
  std::unique_ptr<BlockDevice> image = co_await open_writable(target);
  images.push_back(std::move(image));
  co_await finish(&images, apply_in(images.front().get(), std::move(id_or_name)));
}

Task<void> delete_snapshot(SnapshotTarget target, std::string name) {
  Images images;
  std::unique_ptr<BlockDevice> image = co_await open_writable(target);
  images.push_back(std::move(image));
  co_await finish(&images, delete_in(images.front().get(), std::move(name)));
}

}  // namespace byre::jobs
