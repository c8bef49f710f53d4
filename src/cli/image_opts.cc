// SPDX-License-Identifier: Apache-2.0
#include "cli/image_opts.h"

#include "cli/messages.h"
#include "open/option_list.h"

namespace byre::cli {

void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options) {
  open::use_option_list(text, options, [&invocation](const std::string& warning) {
    print_warning(invocation, warning);
  });
}

}  // namespace byre::cli
