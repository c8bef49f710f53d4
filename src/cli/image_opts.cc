// SPDX-License-Identifier: Apache-2.0
#include "cli/image_opts.h"

#include <cerrno>
#include <vector>

#include "byre/error.h"
#include "cli/messages.h"
#include "open/option_list.h"

namespace byre::cli {

void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options) {
  if (options.format) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "--image-opts and --format are mutually exclusive");
  }
  std::vector<std::string> warnings;
  options.tree = open::parse_option_list(text, warnings);
  options.name_is_tree = true;
  for (const std::string& warning : warnings) print_warning(invocation, warning);
  if (!options.force_share) return;
  const auto said = options.tree.find_string("force-share");
  if (said && *said != "on") {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                "--force-share/-U conflicts with image options");
  }
}

}  // namespace byre::cli
