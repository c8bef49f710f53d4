// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Requests that run in parallel with the following commands, and waiting for them.
namespace byre::cli::io {

void run_aio_read(Session& session, CommandLine& line);
void run_aio_write(Session& session, CommandLine& line);
void run_aio_flush(Session& session, CommandLine& line);

}  // namespace byre::cli::io
