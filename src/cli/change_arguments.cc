// SPDX-License-Identifier: Apache-2.0
#include "cli/change_arguments.h"

namespace byre::cli {

bool ChangeArguments::take(int option, const OptionReader& reader, open::ImageOptions& image) {
  switch (option) {
    case 'q':
      quiet = true;
      return true;
    case 'p':
      progress = true;
      return true;
    case 'f':
      image.format = reader.argument();
      return true;
    case kImageOpts:
      image_opts = true;
      return true;
    case 't':
      cache = reader.argument();
      return true;
    default:
      return false;
  }
}

ProgressStyle ChangeArguments::progress_style() const {
  return progress && !quiet ? ProgressStyle::kText : ProgressStyle::kNone;
}

}  // namespace byre::cli
