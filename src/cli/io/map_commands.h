// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/io/command_line.h"
#include "cli/io/session.h"

namespace byre::cli::io {

void run_alloc(Session& session, CommandLine& line);
void run_map(Session& session, CommandLine& line);

}  // namespace byre::cli::io
