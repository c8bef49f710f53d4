// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"
#include "open/open.h"

namespace byre::cli {

// Parses `text`, the value of an image under `--image-opts`, into the options from which the image
// is opened; its name in messages is still `text`. Throws Error with QEMU's message, also if -f or
// -U was given as well and conflicts with it.
void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options);

}  // namespace byre::cli
