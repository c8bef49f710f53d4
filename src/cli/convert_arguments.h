// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/option_list.h"
#include "cli/progress.h"
#include "qcow2/image/image.h"

namespace byre::cli {

// What `convert` was asked to do, before any file is touched.
struct ConvertArguments {
  std::vector<std::string> sources;
  std::optional<std::string> source_format;
  bool image_opts = false;  // the sources are lists of options
  std::string source_cache = "writeback";
  std::optional<qcow2::SnapshotSelector> snapshot;

  std::string target;
  std::string target_format = "raw";
  bool has_target_format = false;
  bool target_image_opts = false;
  std::string target_cache = "unsafe";
  OptionList target_options;
  std::optional<std::string> backing_filename;
  std::optional<std::string> backing_format;
  bool create = true;  // false with -n
  bool target_is_zero = false;

  bool compressed = false;
  std::optional<int> compression_level;
  std::optional<uint64_t> sparse_size;
  bool copy_range = false;
  bool out_of_order = false;
  bool salvage = false;
  bool bitmaps = false;
  bool force_share = false;
  bool quiet = false;
  ProgressStyle progress = ProgressStyle::kNone;
  unsigned in_flight = 8;
  uint64_t bytes_per_second = 0;

  // "-" is a pipe for byre and a file name for qemu-img.
  bool writes_pipe() const { return pipes_allowed && target == "-"; }
  bool pipes_allowed = false;
};

// Throws, with QEMU's messages and in QEMU's order, for every error that shows in the arguments
// alone. If the help of options is requested, prints it and throws Exit.
ConvertArguments read_convert_arguments(Invocation& invocation);

}  // namespace byre::cli
