// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Requests that are suspended at an event of the engine, on an image with a blkdebug device below
// it.
namespace byre::cli::io {

void run_break(Session& session, CommandLine& line);
void run_remove_break(Session& session, CommandLine& line);
void run_resume(Session& session, CommandLine& line);
void run_wait_break(Session& session, CommandLine& line);

}  // namespace byre::cli::io
