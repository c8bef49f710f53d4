// SPDX-License-Identifier: Apache-2.0
#include "jobs/convert_images.h"

#include <fmt/format.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "byre/error.h"
#include "jobs/convert_snapshots.h"
#include "jobs/convert_target.h"
#include "jobs/source_sequence.h"
#include "jobs/source_states.h"
#include "open/option_list.h"

namespace byre::jobs {
namespace {

class Conversion {
 public:
  explicit Conversion(const ConvertJob* job) : job_(*job), target_(job, &sources_) {}

  Task<void> run() {
    std::exception_ptr error;
    try {
      co_await convert_all();
    } catch (...) {
      error = std::current_exception();
    }
    co_await close(error);
    if (!error) co_return;
    target_.remove_new_files();
    std::rethrow_exception(error);
  }

 private:
  Task<void> convert_all() {
    check_snapshot_options();
    co_await open_sources();
    if (job_.with_snapshots) co_await open_states();
    const uint64_t size = SourceSequence(source_devices()).size();
    co_await target_.open(size);
    co_await copy();
    co_await target_.finish();
  }

  Task<void> copy() {
    if (!states_ || states_->snapshots() == 0) {
      co_await convert(source_devices(), target_.device(), copy_options(), job_.progress,
                       job_.cancellation);
      co_return;
    }
    SnapshotsConversion conversion;
    conversion.states = &*states_;
    conversion.target = open::as_qcow2(&target_.device());
    conversion.options = copy_options();
    conversion.progress = job_.progress;
    conversion.cancellation = job_.cancellation;
    co_await convert_with_snapshots(std::move(conversion));
  }

  void check_snapshot_options() const {
    if (!job_.with_snapshots) return;
    const auto refuse = [](Literal code, const char* sentence) {
      throw Error(ErrorKind::kInvalidArgument, EINVAL, ErrorData{.code = code}, sentence);
    };
    if (job_.snapshot) {
      refuse("convert-snapshots-and-snapshot",
             "either one snapshot can be copied, or the disk with all snapshots");
    }
    if (job_.sources.size() > 1) {
      refuse("convert-snapshots-of-several",
             "the snapshots are to be copied, but there are several sources");
    }
    if (!job_.create) {
      refuse("convert-snapshots-to-existing",
             "the snapshots are to be copied, which is possible only to a new image");
    }
  }

  Task<void> open_states() {
    states_.emplace(sources_.front().get());
    co_await states_->open();
    target_.require_snapshots(&*states_);
  }

  std::vector<BlockDevice*> source_devices() const {
    std::vector<BlockDevice*> devices;
    for (const auto& source : sources_) devices.push_back(source.get());
    return devices;
  }

  Task<void> open_sources() {
    const bool has_snapshot_of_several = job_.sources.size() > 1 && job_.snapshot.has_value();
    open::ImageOptions options;
    options.format = job_.source_format;
    options.cache = cache_mode_named(job_.source_cache, "source cache");
    options.force_share = job_.force_share;
    options.no_share = !job_.force_share;
    if (!has_snapshot_of_several) options.snapshot = job_.snapshot;
    options.on_warning = job_.on_open_warning;
    options.reads_pipes = job_.reads_pipes;
    for (const std::string& name : job_.sources) {
      if (job_.sources_are_options) open::use_option_list(name, options, job_.on_warning);
      std::unique_ptr<BlockDevice> source = co_await open::open_image(name, options);
      sources_.push_back(std::move(source));
    }
    if (!has_snapshot_of_several) co_return;
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "convert-snapshot-of-several", .value = job_.sources.size()},
                fmt::format("a snapshot is to be converted, but there are {} sources; a snapshot "
                            "can be of one image only",
                            job_.sources.size()));
  }

  // With kStarted and kOneByOne, the same sources and options give the same file, byte for byte. In
  // a raw image each byte has a fixed offset; other formats allocate in the order of the requests.
  WriteOrder write_order() const {
    if (target_.is_sequential()) return WriteOrder::kOneByOne;
    if (job_.writes_in_any_order) return WriteOrder::kAny;
    const bool finds_places = std::string_view(target_.device().driver()) != "raw";
    return finds_places && !job_.copy.compressed ? WriteOrder::kOneByOne : WriteOrder::kStarted;
  }

  ConvertOptions copy_options() const {
    ConvertOptions options = job_.copy;
    options.write_order = write_order();
    options.target_is_zero = target_.is_zero();
    if (!target_.has_backing()) return options;
    const qcow2::Image* source = open::as_qcow2(sources_.front().get());
    if (source != nullptr && source->backing() != nullptr) {
      options.top_layer_only = true;
      options.source_backing_size = source->backing()->size();
    }
    const qcow2::Image* image = open::as_qcow2(&target_.device());
    if (image != nullptr && image->backing() != nullptr) {
      options.backing_size = image->backing()->size();
    }
    return options;
  }

  // The target's failure counts, unless there was an earlier one; the sources were only read.
  Task<void> close(std::exception_ptr& error) {
    try {
      co_await target_.close();
    } catch (...) {
      if (!error) error = std::current_exception();
    }
    if (states_) co_await states_->close();
    for (const auto& source : sources_) {
      try {
        co_await source->close();
      } catch (const Error&) {
      }
    }
  }

  const ConvertJob& job_;
  std::vector<std::unique_ptr<BlockDevice>> sources_;
  std::optional<SourceStates> states_;
  ConvertTarget target_;
};

}  // namespace

Task<void> convert_images(ConvertJob job) {
  Conversion conversion(&job);
  co_await conversion.run();
}

}  // namespace byre::jobs
