// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "cli/command.h"
#include "cli/option_list.h"
#include "cli/progress.h"
#include "jobs/convert_images.h"

namespace byre::cli {

// What `convert` was asked to do, before any file is touched.
struct ConvertArguments {
  jobs::ConvertJob job;  // without its functions, progress and cancellation
  OptionList target_options;
  std::optional<int> compression_level;
  std::optional<uint64_t> sparse_size;
  bool bitmaps = false;
  bool quiet = false;
  ProgressStyle progress = ProgressStyle::kNone;
};

// Throws, with QEMU's messages and in QEMU's order, for every error that shows in the arguments
// alone. If the help of options is requested, prints it and throws Exit.
ConvertArguments read_convert_arguments(Invocation& invocation);

}  // namespace byre::cli
