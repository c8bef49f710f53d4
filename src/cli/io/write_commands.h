// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

namespace byre::cli::io {

void run_write(Session& session, CommandLine& line);
void run_writev(Session& session, CommandLine& line);
void run_discard(Session& session, CommandLine& line);

}  // namespace byre::cli::io
