// SPDX-License-Identifier: Apache-2.0
#include "jobs/rebase.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <set>
#include <utility>

#include "block/close_after.h"
#include "byre/error.h"
#include "jobs/file_identities.h"
#include "jobs/invalid_argument.h"
#include "jobs/rebase_copy.h"
#include "jobs/rebase_source.h"
#include "open/image_name.h"
#include "open/qemu_drivers.h"

namespace byre::jobs {
namespace {

class Rebase {
 public:
  Rebase(BlockDevice* device, const RebaseJob* job)
      : device_(device), image_(open::as_qcow2(device)), job_(*job) {}

  Task<void> run() {
    if (job_.compressed && device_->limits().compressed_write_size == 0) {
      throw invalid_argument(
          {.code = "convert-not-compressible"},
          "the image cannot be compressed: its format has no compressed clusters");
    }
    if (job_.backing_format && !open::is_driver_of_qemu(*job_.backing_format)) {
      throw invalid_argument({.code = "rebase-format-unknown", .text = *job_.backing_format},
                             fmt::format("there is no format '{}'", *job_.backing_format));
    }
    if (job_.is_unsafe) refuse_itself();
    if (!job_.is_unsafe && has_backing()) co_await open_base();
    Task<void> work = run_on_base();
    if (base_) work = work_and_close(base_.get(), std::move(work));
    co_await std::move(work);
  }

 private:
  bool has_backing() const { return job_.backing && !job_.backing->empty(); }
  std::string backing() const { return job_.backing.value_or(""); }
  std::string format() const { return has_backing() ? job_.backing_format.value_or("") : ""; }
  std::string path() const {
    return open::resolve_relative(leaf_of(*device_).filename(), backing());
  }

  Error itself() const {
    return invalid_argument(
        {.code = "rebase-onto-itself", .name = backing(), .file = job_.filename},
        fmt::format("'{}' is the image itself, or needs it", backing()));
  }

  void refuse_itself() const {
    const std::optional<FileIdentity> own = leaf_of(*device_).identity();
    if (has_backing() && own && identity_of(path()) == own) throw itself();
  }

  Task<void> open_base() {
    open::ImageOptions options = job_.backing_image;
    options.format = job_.backing_format;
    std::optional<Error> failure;
    try {
      base_ = co_await open::open_image(path(), options);
    } catch (const Error& error) {
      failure = error.without_prefix("Could not open '" + path() + "'")
                    .with_prefix("Could not open new backing file '" + backing() + "'");
    }
    if (failure) throw *failure;
  }

  Task<void> run_on_base() {
    if (base_) refuse_base_above();
    check_names();
    if (!job_.is_unsafe) co_await copy();
    std::optional<Error> failure;
    try {
      co_await image_->change_backing_file(backing(), format());
    } catch (const Error& error) {
      failure = name_refused(error);
    }
    if (failure) throw *failure;
  }

  // The new chain may have images of the old one, but not the image, nor its data file.
  void refuse_base_above() const {
    if (image_ == nullptr) return;
    std::set<FileIdentity> own = files_below(image_->file());
    if (image_->data_file() != nullptr) own.merge(files_below(*image_->data_file()));
    for (const FileIdentity& file : files_below(*base_)) {
      if (own.contains(file)) throw itself();
    }
  }

  void check_names() const {
    if (image_ == nullptr) {
      throw name_refused(
          Error(ErrorKind::kUnsupported, ENOTSUP, "only qcow2 images can have a backing file"));
    }
    if (has_backing() && !job_.backing_format) {
      throw invalid_argument({.code = "rebase-format-missing", .name = backing()},
                             fmt::format("the backing file '{}' has no format", backing()));
    }
    std::optional<Error> failure;
    try {
      image_->check_backing_file(backing(), format());
    } catch (const Error& error) {
      failure = name_refused(error);
    }
    if (failure) throw *failure;
  }

  Error name_refused(const Error& error) const {
    const bool is_full = error.kind() == ErrorKind::kNoSpace;
    const std::string name = job_.backing.value_or("(null)");
    const Literal code = is_full ? Literal("rebase-header-full") : Literal("rebase-name-refused");
    return Error(error.kind(), error.errno_value(),
                 ErrorData{.code = code, .name = name, .file = device_->filename()},
                 error.message());
  }

  Task<void> copy() {
    if (job_.on_changed_snapshots) co_await look_at_snapshots();
    co_await copy_differences(device_, base_.get(), job_.compressed, job_.progress,
                              job_.cancellation);
  }

  Task<void> look_at_snapshots() {
    std::vector<std::string> changed;
    for (const qcow2::layout::Snapshot& snapshot : image_->snapshots()) {
      const bool may_change = co_await snapshot_may_change(snapshot.id);
      if (may_change) changed.push_back(snapshot.name);
    }
    if (!changed.empty()) job_.on_changed_snapshots(changed);
  }

  // If it cannot be found out, it may.
  Task<bool> snapshot_may_change(std::string id) {
    open::ImageOptions options = job_.image;
    options.writable = false;
    options.force_share = true;
    options.on_warning = nullptr;
    options.snapshot.emplace();
    options.snapshot->id = std::move(id);
    bool may_change = true;
    try {
      const std::unique_ptr<BlockDevice> view = co_await open::open_image(job_.filename, options);
      may_change = co_await has_differences(view.get());
      co_await view->close();
    } catch (const Error&) {
      may_change = true;
    }
    co_return may_change;
  }

  Task<bool> has_differences(BlockDevice* view) {
    RebaseSource source(view, base_.get());
    uint64_t offset = 0;
    while (offset < view->size()) {
      if (job_.cancellation != nullptr) job_.cancellation->check();
      const uint64_t left = view->size() - offset;
      const std::vector<Extent> extents =
          co_await source.extents(offset, left, ExtentScope::kChain);
      for (const Extent& extent : extents) {
        if (extent.depth == 0) co_return true;
        offset = extent.offset + extent.length;
      }
    }
    co_return false;
  }

  BlockDevice* device_;
  qcow2::Image* image_;  // nullptr: another format
  const RebaseJob& job_;
  std::unique_ptr<BlockDevice> base_;  // nullptr: none, or not looked at
};

}  // namespace

Task<void> rebase(RebaseJob job) {
  open::ImageOptions options = job.image;
  options.writable = true;
  options.no_backing = job.is_unsafe;
  const std::unique_ptr<BlockDevice> device = co_await open::open_image(job.filename, options);
  Rebase rebase(device.get(), &job);
  Task<void> work = rebase.run();
  co_await work_and_close(device.get(), std::move(work));
}

}  // namespace byre::jobs
