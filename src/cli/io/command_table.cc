// SPDX-License-Identifier: Apache-2.0
#include "cli/io/command_table.h"

#include "cli/io/async_commands.h"
#include "cli/io/break_commands.h"
#include "cli/io/command_help.h"
#include "cli/io/image_commands.h"
#include "cli/io/map_commands.h"
#include "cli/io/process_commands.h"
#include "cli/io/read_commands.h"
#include "cli/io/write_commands.h"
#include "cli/io/zone_commands.h"

namespace byre::cli::io {
namespace {

// name, short name, function, how many arguments, needs an image, writes; then what help shows.
// clang-format off
constexpr Command kCommands[] = {
    {"abort", nullptr, run_abort, 0, 0, false, false, nullptr,
     "simulate a program crash using abort(3)", ""},
    {"aio_flush", nullptr, run_aio_flush, 0, 0, true, false, nullptr,
     "completes all outstanding aio requests", ""},
    {"aio_read", nullptr, run_aio_read, 2, kAny, true, false, "[-Ciqrv] [-P pattern] off len [len..]",
     "asynchronously reads a number of bytes", kAioReadHelp},
    {"aio_write", nullptr, run_aio_write, 2, kAny, true, true, "[-Cfiqruz] [-P pattern] off len [len..]",
     "asynchronously writes a number of bytes", kAioWriteHelp},
    {"alloc", "a", run_alloc, 1, 2, true, false, "offset [count]",
     "checks if offset is allocated in the file", ""},
    {"break", nullptr, run_break, 2, 2, true, false, "event tag",
     "sets a breakpoint on event and tags the stopped request as tag", ""},
    {"close", "c", run_close, 0, 0, true, false, nullptr,
     "close the current open file", ""},
    {"discard", "d", run_discard, 2, kAny, true, true, "[-Cq] off len",
     "discards a number of bytes at a specified offset", kDiscardHelp},
    {"flush", "f", run_flush, 0, 0, true, false, nullptr,
     "flush all in-core file state to disk", ""},
    {"help", "?", run_help, 0, 1, false, false, "[command]",
     "help for one or all commands", ""},
    {"info", "i", run_info, 0, 0, true, false, nullptr,
     "prints information about the current file", ""},
    {"length", "l", run_length, 0, 0, true, false, nullptr,
     "gets the length of the current file", ""},
    {"map", nullptr, run_map, 0, 0, true, false, "",
     "prints the allocated areas of a file", ""},
    {"open", "o", run_open, 1, kAny, false, false, "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
     "open the file specified by path", kOpenHelp},
    {"quit", "q", run_quit, 0, kAny, false, false, nullptr,
     "exit the program", ""},
    {"read", "r", run_read, 2, kAny, true, false, "[-abCqrv] [-P pattern [-s off] [-l len]] off len",
     "reads a number of bytes at a specified offset", kReadHelp},
    {"readv", nullptr, run_readv, 2, kAny, true, false, "[-Cqrv] [-P pattern] off len [len..]",
     "reads a number of bytes at a specified offset", kReadvHelp},
    {"remove_break", nullptr, run_remove_break, 1, 1, true, false, "tag",
     "remove a breakpoint by tag", ""},
    {"reopen", nullptr, run_reopen, 0, kAny, true, false, "[(-r|-w)] [-c cache] [-o options]",
     "reopens an image with new options", kReopenHelp},
    {"resume", nullptr, run_resume, 1, 1, true, false, "tag",
     "resumes the request tagged as tag", ""},
    {"sigraise", nullptr, run_sigraise, 1, 1, false, false, "signal",
     "raises a signal", kSigraiseHelp},
    {"sleep", nullptr, run_sleep, 1, 1, false, false, nullptr,
     "waits for the given value in milliseconds", ""},
    {"truncate", "t", run_truncate, 1, 3, true, true, "[-m prealloc_mode] off",
     "truncates the current file at the given offset", ""},
    {"wait_break", nullptr, run_wait_break, 1, 1, true, false, "tag",
     "waits for the suspension of a request", ""},
    {"write", "w", run_write, 2, kAny, true, true, "[-bcCfnqruz] [-P pattern | -s source_file] off len",
     "writes a number of bytes at a specified offset", kWriteHelp},
    {"writev", nullptr, run_writev, 2, kAny, true, true, "[-Cfqr] [-P pattern] off len [len..]",
     "writes a number of bytes at a specified offset", kWritevHelp},
    {"zone_append", "zap", run_zone_append, 3, 4, true, false, "offset len [len..]",
     "append write a number of bytes at a specified offset", ""},
    {"zone_close", "zc", run_zone_close, 2, 2, true, false, "offset len",
     "close a range of zones in zone block device", ""},
    {"zone_finish", "zf", run_zone_finish, 2, 2, true, false, "offset len",
     "finish a range of zones in zone block device", ""},
    {"zone_open", "zo", run_zone_open, 2, 2, true, false, "offset len",
     "explicit open a range of zones in zone block device", ""},
    {"zone_report", "zrp", run_zone_report, 2, 2, true, false, "offset number",
     "report zone information", ""},
    {"zone_reset", "zrs", run_zone_reset, 2, 2, true, false, "offset len",
     "reset a zone write pointer in zone block device", ""},
};
// clang-format on

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

const Command* find_command(const std::string& name) {
  for (const Command& command : kCommands) {
    if (name == command.name) return &command;
    if (command.short_name != nullptr && name == command.short_name) return &command;
  }
  return nullptr;
}

std::string usage_line(const Command& command, const std::string& name) {
  std::string line = name + " ";
  if (command.arguments != nullptr) line += std::string(command.arguments) + " ";
  return line + "-- " + command.summary + "\n";
}

}  // namespace byre::cli::io
