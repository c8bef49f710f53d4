// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace byre::cli {

// Before any file is opened: descriptors 0 to 2 that are closed are opened on /dev/null, so that no
// image gets one of these numbers and with it what is printed. They are opened the wrong way round:
// to read from or to write to what was closed fails as before. False where that cannot be done;
// the program must end then.
bool open_standard_streams();

}  // namespace byre::cli
