// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Zoned block devices. byre has none: each command checks its arguments, then fails as it does in
// QEMU on every device without zones.
namespace byre::cli::io {

void run_zone_append(Session& session, CommandLine& line);
void run_zone_close(Session& session, CommandLine& line);
void run_zone_finish(Session& session, CommandLine& line);
void run_zone_open(Session& session, CommandLine& line);
void run_zone_report(Session& session, CommandLine& line);
void run_zone_reset(Session& session, CommandLine& line);

}  // namespace byre::cli::io
