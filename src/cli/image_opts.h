// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "cli/command.h"
#include "open/open.h"

namespace byre::cli {

// How a command opens an image that it reads: byre reads "-" from the standard input, qemu-img does
// not; warnings are printed. `invocation` outlives it.
open::ImageOptions image_options(const Invocation& invocation);

// Parses `text`, the value of an image under `--image-opts`, into the options from which the image
// is opened; its name in messages is still `text`. Throws Error with QEMU's message, also if -f or
// -U was given as well and conflicts with it.
void set_image_opts(const Invocation& invocation, const std::string& text,
                    open::ImageOptions& options);

}  // namespace byre::cli
