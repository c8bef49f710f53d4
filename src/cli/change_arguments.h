// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/options.h"
#include "cli/progress.h"
#include "open/open.h"

namespace byre::cli {

// What the commands that change one image have in common: -f, --image-opts, -t, -p, -q.
struct ChangeArguments {
  bool image_opts = false;
  bool quiet = false;
  bool progress = false;
  std::string cache = "writeback";

  // Whether the option that the reader returned is one of these. `image`: gets the format.
  bool take(int option, const OptionReader& reader, open::ImageOptions& image);
  ProgressStyle progress_style() const;
};

}  // namespace byre::cli
