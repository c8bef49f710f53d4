// SPDX-License-Identifier: Apache-2.0
#pragma once

// What `help COMMAND` shows after a command's summary: qemu-io's texts, which scripts and people
// know. Commands that are not here have no further help.
namespace byre::cli::io {

extern const char kAioReadHelp[];
extern const char kAioWriteHelp[];
extern const char kDiscardHelp[];
extern const char kOpenHelp[];
extern const char kReadHelp[];
extern const char kReadvHelp[];
extern const char kReopenHelp[];
extern const char kSigraiseHelp[];
extern const char kWriteHelp[];
extern const char kWritevHelp[];

}  // namespace byre::cli::io
