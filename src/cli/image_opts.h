// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"
#include "open/open.h"

namespace byre::cli {

// Makes `text`, the value of an image under `--image-opts`, the options from which the image is
// opened; its name for messages stays `text`. Throws Error in QEMU's words, also where -f or -U was
// given too and does not go with it.
void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options);

}  // namespace byre::cli
