// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "async/task.h"
#include "cli/io/session.h"

namespace byre::cli::io {

// Runs one line of the shell; does nothing if it is blank. False if the command failed; its
// messages have been printed.
bool run_line(Session& session, const std::string& text);

// The next line of `input` without its line end, nothing at the end of the file; anything after a
// zero byte in a line is ignored. Waits on a worker thread, so that requests on the loop run
// meanwhile. `input` outlives it.
Task<std::optional<std::string>> read_line(std::FILE* input);

// Runs the given lines, or, if there are none, those of `input`, each after a prompt; stops at
// their end or at `quit`. False if any of them failed.
bool run_lines(Session& session, const std::vector<std::string>& lines);
bool run_input(Session& session, std::FILE* input);

}  // namespace byre::cli::io
