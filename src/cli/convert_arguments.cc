// SPDX-License-Identifier: Apache-2.0
#include "cli/convert_arguments.h"

#include <unistd.h>

#include <cerrno>

#include "base/units.h"
#include "byre/error.h"
#include "cli/numbers.h"
#include "cli/option_list.h"
#include "cli/options.h"
#include "cli/sizes.h"
#include "cli/snapshot_option.h"
#include "codec/codec.h"
#include "open/invalid_argument.h"

namespace byre::cli {
namespace {

constexpr uint64_t kSparseSizeMax = 16 * kMiB;

// Options without a letter.
enum LongOnly {
  kBitmaps = kLongOnly,
  kSkipBrokenBitmaps,
  kSalvage,
  kTargetIsZero,
  kProgress,
  kCompressLevel,
  kSnapshots,
};

std::vector<LongOption> long_options(const Invocation& invocation) {
  std::vector<LongOption> options{{"help", 'h'},
                                  {"source-image-opts", kImageOpts},
                                  {"image-opts", kImageOpts},
                                  {"source-format", 'f', true},
                                  {"source-cache", 'T', true},
                                  {"snapshot", 'l', true},
                                  {"object", kObject, true},
                                  {"target-image-opts", kTargetImageOpts},
                                  {"output-format", 'O', true},
                                  {"options", 'o', true},
                                  {"output-cache", 't', true},
                                  {"backing", 'B', true},
                                  {"backing-format", 'F', true},
                                  {"bitmaps", kBitmaps},
                                  {"sparse-size", 'S', true},
                                  {"salvage", kSalvage},
                                  {"skip-broken-bitmaps", kSkipBrokenBitmaps},
                                  {"target-is-zero", kTargetIsZero},
                                  {"force-share", 'U'},
                                  {"rate", 'r', true},
                                  {"parallel", 'm', true},
                                  {"oob-writes", 'W'},
                                  {"copy-range-offloading", 'C'},
                                  {"quiet", 'q'}};
  // QEMU's abbreviations keep their meaning when called as qemu-img.
  if (!invocation.as_qemu()) {
    options.push_back({"compress-level", kCompressLevel, true});
    options.push_back({"progress", kProgress, true});
    options.push_back({"snapshots", kSnapshots});
  }
  return options;
}

uint64_t parse_sparse_size(const std::string& text) {
  const uint64_t size = parse_size_argument("buffer size for sparse output", text);
  if (size % kSectorSize != 0 || size > kSparseSizeMax) {
    throw open::invalid_argument(
        "Invalid buffer size for sparse output specified. Valid sizes are multiples of " +
        std::to_string(kSectorSize) + " up to " + std::to_string(kSparseSizeMax) +
        ". Select 0 to disable sparse detection (fully allocates output).");
  }
  return size;
}

// Options of the target, split off because the switch would be too long: true if it was one of
// these.
bool take_target_option(int option, const OptionReader& reader, ConvertArguments& arguments) {
  switch (option) {
    case 'O':
      arguments.job.target_format = reader.argument();
      return true;
    case 'o':
      arguments.target_options.add(reader.argument());
      return true;
    case 't':
      arguments.job.target_cache = reader.argument();
      return true;
    case 'B':
      arguments.job.backing_filename = reader.argument();
      return true;
    case 'F':
      arguments.job.backing_format = reader.argument();
      return true;
    case 'n':
      arguments.job.create = false;
      return true;
    case kTargetImageOpts:
      arguments.job.target_is_options = true;
      return true;
    case kTargetIsZero:
      arguments.job.target_is_zero = true;
      return true;
    case 'S':
      arguments.sparse_size = parse_sparse_size(reader.argument());
      return true;
    case 'c':
      arguments.job.copy.compressed = true;
      return true;
    case kCompressLevel:
      arguments.compression_level = static_cast<int>(parse_number_argument(
          "compression level", reader.argument(), codec::kFastestLevel, codec::kSmallestLevel));
      return true;
    default:
      return false;
  }
}

void take_option(int option, const OptionReader& reader, const Invocation& invocation,
                 ConvertArguments& arguments) {
  if (take_target_option(option, reader, arguments)) return;
  switch (option) {
    case 'f':
      arguments.job.source_format = reader.argument();
      break;
    case 'T':
      arguments.job.source_cache = reader.argument();
      break;
    case 'l':
      arguments.job.snapshot = parse_snapshot_option(reader.argument(), invocation);
      break;
    case kSnapshots:
      arguments.job.with_snapshots = true;
      break;
    case 'p':
      arguments.progress = ProgressStyle::kText;
      break;
    case kProgress:
      arguments.progress = parse_progress_style(reader.argument());
      break;
    case 'q':
      arguments.quiet = true;
      break;
    case 'm':
      arguments.job.copy.in_flight = static_cast<unsigned>(
          parse_number_argument("number of coroutines", reader.argument(), 1, 16));
      break;
    case 'r':
      arguments.job.copy.bytes_per_second = parse_size_argument("rate limit", reader.argument());
      break;
    case 'W':
      arguments.job.writes_in_any_order = true;
      break;
    case 'C':
      arguments.job.copy.copy_range = true;
      break;
    case kImageOpts:
      arguments.job.sources_are_options = true;
      break;
    case 'U':
      arguments.job.force_share = true;
      break;
    case kSalvage:
      arguments.job.copy.salvage = true;
      break;
    case kBitmaps:
      arguments.bitmaps = true;
      break;
    default:
      break;
  }
}

void check(const ConvertArguments& arguments, bool skips_broken_bitmaps) {
  if (skips_broken_bitmaps && !arguments.bitmaps) {
    throw open::invalid_argument("Use of --skip-broken-bitmaps requires --bitmaps");
  }
  if (arguments.job.copy.copy_range && arguments.job.copy.compressed) {
    throw open::invalid_argument("Cannot enable copy offloading when -c is used");
  }
  if (arguments.job.copy.copy_range && arguments.sparse_size.has_value()) {
    throw open::invalid_argument("Cannot enable copy offloading when -S is used");
  }
  if (arguments.job.copy.copy_range && arguments.job.copy.salvage) {
    throw open::invalid_argument("Cannot use copy offloading in salvaging mode");
  }
  if (arguments.job.create && arguments.job.target_is_options) {
    throw open::invalid_argument("--target-image-opts requires use of -n flag");
  }
  if (!arguments.job.create && !arguments.target_options.empty()) {
    throw open::invalid_argument("-o has no effect when skipping image creation");
  }
  if (arguments.job.create && arguments.job.target_is_zero) {
    throw open::invalid_argument("--target-is-zero requires use of -n flag");
  }
}

// Options that only byre has.
void check_beyond_qemu(const ConvertArguments& arguments) {
  if (arguments.compression_level.has_value() && !arguments.job.copy.compressed) {
    throw open::invalid_argument("--compress-level requires use of -c flag");
  }
  if (arguments.bitmaps) refuse_unsupported("--bitmaps");
  if (!arguments.job.target_pipe) return;
  if (!arguments.job.create)
    throw open::invalid_argument("-n cannot be used when the target is a pipe");
  if (arguments.progress == ProgressStyle::kText) {
    throw open::invalid_argument(
        "-p cannot be used when the target is a pipe; --progress=json can");
  }
}

}  // namespace

ConvertArguments read_convert_arguments(Invocation& invocation) {
  ConvertArguments arguments;
  arguments.job.reads_pipes = !invocation.as_qemu();
  bool skips_broken_bitmaps = false;
  OptionReader reader(invocation, "hf:O:B:CcF:o:l:S:pt:T:qnm:WUr:", long_options(invocation));
  while (const std::optional<int> option = reader.next()) {
    if (*option == kSkipBrokenBitmaps) skips_broken_bitmaps = true;
    take_option(*option, reader, invocation, arguments);
  }
  if (arguments.quiet) arguments.progress = ProgressStyle::kNone;
  check(arguments, skips_broken_bitmaps);

  std::vector<std::string> names = reader.names();
  if (!arguments.target_options.empty() && arguments.target_options.asks_for_help()) {
    print_option_help(arguments.job.target_format.value_or("raw"),
                      names.size() < 2 ? std::nullopt : std::optional(names.back()));
    throw Exit{0};
  }
  if (names.size() < 2) throw open::invalid_argument("Must specify image file name");
  jobs::ConvertJob& job = arguments.job;
  job.target = names.back();
  names.pop_back();
  job.sources = std::move(names);
  // "-" is a pipe for byre and a file name for qemu-img.
  if (!invocation.as_qemu() && job.target == "-") job.target_pipe = STDOUT_FILENO;
  check_beyond_qemu(arguments);
  job.target_options = arguments.target_options.entries();
  job.compression_level = arguments.compression_level.value_or(0);
  if (arguments.sparse_size) job.copy.sparse_size = *arguments.sparse_size;
  return arguments;
}

}  // namespace byre::cli
