// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

// Commands of the shell itself, which need no image.
namespace byre::cli::io {

void run_abort(Session& session, CommandLine& line);
void run_help(Session& session, CommandLine& line);
void run_quit(Session& session, CommandLine& line);
void run_sigraise(Session& session, CommandLine& line);
void run_sleep(Session& session, CommandLine& line);

}  // namespace byre::cli::io
