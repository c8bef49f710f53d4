// SPDX-License-Identifier: Apache-2.0
#include "cli/image_opts.h"

#include "cli/messages.h"
#include "open/option_list.h"

namespace byre::cli {

open::ImageOptions image_options(const Invocation& invocation) {
  open::ImageOptions options;
  options.reads_pipes = !invocation.as_qemu();
  options.on_warning = open_warning_printer(invocation);
  return options;
}

void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options) {
  open::use_option_list(text, options, [&invocation](const std::string& warning) {
    print_warning(invocation, warning);
  });
}

}  // namespace byre::cli
