// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace byre::cli {

// Called before any file is opened: opens those of the descriptors 0 to 2 that are closed on
// /dev/null, so that no image gets one of these numbers and is overwritten by output. They are
// opened in the wrong direction, so that reading from or writing to a closed stream fails as
// before. False if that is not possible; the program must then exit.
bool open_standard_streams();

}  // namespace byre::cli
