// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "cli/io/session.h"

namespace byre::cli::io {

// Runs one line of the shell; nothing where it is blank. False where the command failed; what there
// is to tell has been printed.
bool run_line(Session& session, const std::string& text);

// The next line of `input` without its end, nothing at the end of the file; what follows a zero
// byte in a line does not count. Waits on a worker thread, so that requests on the loop go on
// meanwhile. `input` outlives it.
Task<std::optional<std::string>> read_line(std::FILE* input);

// Runs the lines given, or, where there are none, those of `input`, each behind a prompt; ends at
// their end or at `quit`. False where any of them failed.
bool run_lines(Session& session, const std::vector<std::string>& lines);
bool run_input(Session& session, std::FILE* input);

}  // namespace byre::cli::io
