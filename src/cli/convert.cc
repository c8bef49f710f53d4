// SPDX-License-Identifier: Apache-2.0
// `convert`: opens the sources, creates the target, runs the job, closes everything. The order of
// the steps is QEMU's, so that of two mistakes the same one is reported.
#include <unistd.h>

#include <cerrno>
#include <exception>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "async/loop.h"
#include "base/checked.h"
#include "base/units.h"
#include "cli/convert_arguments.h"
#include "cli/image_opts.h"
#include "cli/messages.h"
#include "cli/options.h"
#include "cli/signals.h"
#include "cli/target_options.h"
#include "jobs/convert.h"
#include "jobs/create.h"
#include "jobs/file_identities.h"
#include "jobs/info.h"
#include "jobs/piped_image.h"
#include "jobs/source_sequence.h"
#include "open/open.h"
#include "storage/cache_mode.h"

namespace byre::cli {
namespace {

Error invalid(std::string message) {
  return Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

storage::CacheMode cache_mode(const std::string& name, const char* what) {
  const auto mode = storage::parse_cache_mode(name);
  if (!mode.has_value()) throw invalid(std::string("Invalid ") + what + " option: " + name);
  return *mode;
}

class ConvertCommand {
 public:
  ConvertCommand(const Invocation& invocation, const ConvertArguments& arguments,
                 Progress& progress, Cancellation& cancellation)
      : invocation_(invocation),
        arguments_(arguments),
        progress_(progress),
        cancellation_(cancellation) {}

  Task<void> run() {
    std::exception_ptr error;
    try {
      co_await convert();
    } catch (...) {
      error = std::current_exception();
    }
    co_await close(error);
    if (!error) co_return;
    // An incomplete image that looks complete is useless.
    made_.remove();
    std::rethrow_exception(error);
  }

 private:
  Task<void> convert() {
    co_await open_sources();
    const uint64_t size = jobs::SourceSequence(source_devices()).size();
    if (arguments_.create) {
      co_await make_target(size);
    } else {
      has_backing_ = arguments_.backing_filename.has_value();
      target_mode_ = cache_mode(arguments_.target_cache, "cache");
      co_await open_target();
    }
    check_target(size);
    co_await jobs::convert(source_devices(), *target_, job_options(), &progress_, &cancellation_);
    if (pipe_) co_await pipe_->finish(&cancellation_);
  }

  std::vector<BlockDevice*> source_devices() const {
    std::vector<BlockDevice*> devices;
    for (const auto& source : sources_) devices.push_back(source.get());
    return devices;
  }

  Task<void> open_sources() {
    open::ImageOptions options;
    options.format = arguments_.source_format;
    options.cache = cache_mode(arguments_.source_cache, "source cache");
    options.force_share = arguments_.force_share;
    options.no_share = !arguments_.force_share;
    options.snapshot = arguments_.snapshot;
    options.on_warning = open_warning_printer(invocation_);
    options.reads_pipes = arguments_.pipes_allowed;
    if (arguments_.sources.size() > 1 && arguments_.snapshot.has_value()) options.snapshot.reset();
    for (const std::string& name : arguments_.sources) {
      if (arguments_.image_opts) {
        options.format = arguments_.source_format;
        set_image_opts(invocation_, name, options);
      }
      std::unique_ptr<BlockDevice> source = co_await open::open_image(name, options);
      sources_.push_back(std::move(source));
    }
    if (arguments_.sources.size() > 1 && arguments_.snapshot.has_value()) {
      throw invalid("No support for concatenating multiple snapshot");
    }
  }

  // The options of the new image, complete and checked as far as possible without files.
  TargetOptions target_options(uint64_t size) const {
    TargetOptions options(arguments_.target_format);
    jobs::require_file(arguments_.target);
    options.set_filename(arguments_.target);
    options.apply(arguments_.target_options);
    options.set_size(size);
    if (arguments_.backing_filename.has_value()) {
      if (!options.has_option("backing_file")) {
        throw invalid("Backing file not supported for file format '" + options.format() + "'");
      }
      options.set("backing_file", *arguments_.backing_filename);
    }
    if (arguments_.backing_format.has_value()) {
      if (!options.has_option("backing_fmt")) {
        throw invalid("Backing file format not supported for file format '" + options.format() +
                      "'");
      }
      options.set("backing_fmt", *arguments_.backing_format);
    }
    if (options.get("backing_file").has_value()) {
      if (sources_.size() > 1) {
        throw invalid(
            "Having a backing file for the target makes no sense when concatenating multiple "
            "input images");
      }
      if (!options.get("backing_fmt").has_value()) {
        throw invalid("Use of backing file requires explicit backing format");
      }
    }
    if (arguments_.compressed) {
      if (options.format() != "qcow2") {
        throw invalid("Compression not supported for this file format");
      }
      if (options.get("data_file").has_value()) {
        throw invalid("Compression not supported for this file format");
      }
      if (options.get("preallocation").value_or("off") != "off") {
        throw invalid("Compression and preallocation not supported at the same time");
      }
    }
    return options;
  }

  Task<void> make_target(uint64_t size) {
    const TargetOptions options = target_options(size);
    has_backing_ = options.get("backing_file").has_value();
    target_mode_ = cache_mode(arguments_.target_cache, "cache");
    if (arguments_.writes_pipe()) {
      co_await make_piped_target(options, size);
      co_return;
    }
    co_await check_target_before_loss(options);
    try {
      jobs::NewImage image = options.to_image(arguments_.target);
      image.on_warning = [this](const std::string& text) { print_warning(invocation_, text); };
      co_await jobs::create_image(std::move(image), &made_);
    } catch (const Error& error) {
      throw error.with_prefix(arguments_.target + ": error while converting " +
                              arguments_.target_format);
    }
    co_await open_target();
  }

  std::set<storage::FileIdentity> source_files() const {
    std::set<storage::FileIdentity> files;
    for (const auto& source : sources_) files.merge(jobs::files_below(*source));
    return files;
  }

  // Checks for errors that would otherwise show only when the new image is opened, which is too
  // late for the existing one.
  Task<void> check_target_before_loss(const TargetOptions& options) {
    if (arguments_.force_share) {
      jobs::refuse_as_target(arguments_.target, source_files());
      jobs::refuse_as_target(options.get("data_file").value_or(""), source_files());
    }
    const std::optional<storage::FileIdentity> target = jobs::identity_of(arguments_.target);
    if (!target) co_return;
    const std::string prefix = "Could not open '" + arguments_.target + "'";
    std::optional<Error> failure;
    try {
      if (storage::is_direct(target_mode_)) co_await try_to_open_file();
      if (has_backing_) co_await check_backing(options, *target);
    } catch (const Error& error) {
      failure = error.with_prefix(prefix);
    }
    if (failure) throw *failure;
  }

  // With O_DIRECT, which the file system may not support.
  Task<void> try_to_open_file() {
    const std::string& name = arguments_.target;
    storage::FileOptions options;
    options.cache = target_mode_;
    options.force_share = true;
    const std::string path = name.starts_with("file:") ? name.substr(5) : name;
    const std::unique_ptr<storage::FileDevice> file =
        co_await storage::FileDevice::open(path, options);
    co_await file->close();
  }

  Task<void> check_backing(const TargetOptions& options, storage::FileIdentity target) {
    open::ImageOptions backing_options;
    backing_options.format = options.get("backing_fmt");
    backing_options.cache = target_mode_;
    const std::string path = jobs::backing_path(arguments_.target, *options.get("backing_file"));
    std::unique_ptr<BlockDevice> backing;
    std::optional<Error> failure;
    try {
      backing = co_await open::open_image(path, backing_options);
    } catch (const Error& error) {
      failure = error;
    }
    if (failure) {
      throw failure->without_prefix("Could not open '" + path + "'")
          .with_prefix("Could not open backing file");
    }
    const bool is_target = jobs::files_below(*backing).contains(target);
    co_await backing->close();
    if (is_target) throw invalid("the backing file is the image itself, or depends on it");
  }

  Task<void> make_piped_target(const TargetOptions& options, uint64_t size) {
    pipe_ = std::make_unique<jobs::PipedImage>(STDOUT_FILENO);
    if (options.format() == "raw") {
      target_ = pipe_->make_raw(align_up(size, kSectorSize));
    } else {
      const qcow2::CreateOptions create_options = options.to_qcow2();
      target_ =
          co_await pipe_->make_qcow2(create_options, arguments_.compression_level.value_or(0));
    }
  }

  Task<void> open_target() {
    open::ImageOptions options;
    options.format = arguments_.target_format;
    options.writable = true;
    options.policy.discard = DiscardPolicy::kUnmap;
    options.cache = target_mode_;
    options.compression_level = arguments_.compression_level.value_or(0);
    options.on_warning = open_warning_printer(invocation_);
    const std::string& path = arguments_.target;
    if (arguments_.target_image_opts) {
      options.format.reset();
      if (arguments_.has_target_format) options.format = arguments_.target_format;
      set_image_opts(invocation_, path, options);
    }
    owned_target_ = co_await open::open_image(path, options);
    target_ = owned_target_.get();
    if (arguments_.force_share) refuse_sources_as_target();
  }

  // Compares only the target's own files: it may share a backing file with a source.
  void refuse_sources_as_target() const {
    const std::set<storage::FileIdentity> files = source_files();
    const BlockDevice& file = leaf_of(*target_);
    jobs::refuse_as_target(file.filename(), files);
    const qcow2::Image* image = open::as_qcow2(target_);
    if (image == nullptr || image->data_file() == nullptr) return;
    jobs::refuse_as_target(leaf_of(*image->data_file()).filename(), files);
  }

  void check_target(uint64_t size) const {
    if (arguments_.target_is_zero && has_backing_) {
      throw invalid("Cannot use --target-is-zero when the destination image has a backing file");
    }
    if (!arguments_.create && target_->size() < size) {
      throw invalid("output file is smaller than input file");
    }
    if (arguments_.compressed && target_->limits().compressed_write_size == 0) {
      throw invalid("Compression not supported for this file format");
    }
  }

  // Without -W, the same sources and options give the same file, byte for byte. In a raw image each
  // byte has a fixed offset; other formats allocate in the order of the requests.
  jobs::WriteOrder write_order() const {
    if (pipe_ && arguments_.target_format == "raw") return jobs::WriteOrder::kOneByOne;
    if (arguments_.out_of_order) return jobs::WriteOrder::kAny;
    const bool finds_places = std::string_view(target_->driver()) != "raw";
    return finds_places && !arguments_.compressed ? jobs::WriteOrder::kOneByOne
                                                  : jobs::WriteOrder::kStarted;
  }

  jobs::ConvertOptions job_options() {
    constexpr uint64_t kSparseSizeDefault = 4 * kKiB;
    jobs::ConvertOptions options;
    options.sparse_size = arguments_.sparse_size.value_or(kSparseSizeDefault);
    options.in_flight = arguments_.in_flight;
    options.write_order = write_order();
    options.compressed = arguments_.compressed;
    options.copy_range = arguments_.copy_range;
    options.salvage = arguments_.salvage;
    if (!arguments_.quiet) {
      const auto warn_of = [this](std::string what) {
        return [this, what = std::move(what)](uint64_t offset, const Error& error) {
          print_warning(invocation_,
                        what + std::to_string(offset) + ": " + errno_text(error.errno_value()));
        };
      };
      options.on_unreadable = warn_of("error while reading offset ");
      options.on_unknown_state = warn_of("error while reading block status at offset ");
    }
    options.bytes_per_second = arguments_.bytes_per_second;
    if (has_backing_) {
      const qcow2::Image* source = open::as_qcow2(sources_.front().get());
      if (source != nullptr && source->backing() != nullptr) {
        options.top_layer_only = true;
        options.source_backing_size = source->backing()->size();
      }
      const qcow2::Image* image = open::as_qcow2(target_);
      if (image != nullptr && image->backing() != nullptr) {
        options.backing_size = image->backing()->size();
      }
    }
    options.target_is_zero =
        !has_backing_ &&
        (arguments_.target_is_zero || (arguments_.create && target_->limits().is_zero_initialised));
    return options;
  }

  // The target's failure counts, unless there was an earlier one; the sources were only read.
  Task<void> close(std::exception_ptr& error) {
    try {
      if (owned_target_) co_await owned_target_->close();
      if (pipe_) co_await pipe_->close();
    } catch (...) {
      if (!error) error = std::current_exception();
    }
    for (const auto& source : sources_) {
      try {
        co_await source->close();
      } catch (const Error&) {
      }
    }
  }

  const Invocation& invocation_;
  const ConvertArguments& arguments_;
  Progress& progress_;
  Cancellation& cancellation_;

  std::vector<std::unique_ptr<BlockDevice>> sources_;
  storage::CacheMode target_mode_ = storage::CacheMode::kUnsafe;
  bool has_backing_ = false;
  jobs::MadeFiles made_;
  std::unique_ptr<jobs::PipedImage> pipe_;
  std::unique_ptr<BlockDevice> owned_target_;
  BlockDevice* target_ = nullptr;  // in owned_target_ or in pipe_
};

}  // namespace

int run_convert(Invocation& invocation) {
  const ConvertArguments arguments = read_convert_arguments(invocation);
  invocation.output_is_result = false;
  InterruptibleScope scope;
  Loop loop;
  ProgressPrinter progress(arguments.progress, 1.0);
  ConvertCommand command(invocation, arguments, progress, scope.cancellation());
  loop.run(command.run());
  return 0;
}

}  // namespace byre::cli
