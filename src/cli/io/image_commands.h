// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Commands about the open image as a whole.
namespace byre::cli::io {

void run_open(Session& session, CommandLine& line);
void run_close(Session& session, CommandLine& line);
void run_flush(Session& session, CommandLine& line);
void run_info(Session& session, CommandLine& line);
void run_length(Session& session, CommandLine& line);
void run_reopen(Session& session, CommandLine& line);
void run_truncate(Session& session, CommandLine& line);

}  // namespace byre::cli::io
