// SPDX-License-Identifier: Apache-2.0
#include "cli/io/zone_commands.h"

#include <cerrno>

#include "byre/error.h"
#include "cli/io/request.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void fail_without_zones(const std::string& what) {
  throw failure_of(what, Error(ErrorKind::kUnsupported, ENOTSUP, errno_text(ENOTSUP)));
}

// open, close, finish and reset of a range of zones.
void manage_zones(Session& session, const CommandLine& line, const std::string& what) {
  const auto offset = static_cast<uint64_t>(parse_offset(line.word(1)));
  const auto length = static_cast<uint64_t>(parse_offset(line.word(2)));
  try {
    check_inside(session.device(), offset, length);
  } catch (const Error& error) {
    throw failure_of(what, error);
  }
  fail_without_zones(what);
}

}  // namespace

void run_zone_append(Session&, CommandLine& line) {
  try {
    line.next_option("");
  } catch (const UsageRequest&) {
    // An invalid option is reported; QEMU continues after it.
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  parse_offset(line.operands()[0]);
  parse_lengths({line.operands().begin() + 1, line.operands().end()});
  fail_without_zones("zone append");
}

void run_zone_close(Session& session, CommandLine& line) {
  manage_zones(session, line, "zone close");
}

void run_zone_finish(Session& session, CommandLine& line) {
  manage_zones(session, line, "zone finish");
}

void run_zone_open(Session& session, CommandLine& line) {
  manage_zones(session, line, "zone open");
}

void run_zone_report(Session&, CommandLine& line) {
  parse_offset(line.word(1));
  parse_offset(line.word(2));
  fail_without_zones("zone report");
}

void run_zone_reset(Session& session, CommandLine& line) {
  manage_zones(session, line, "zone reset");
}

}  // namespace byre::cli::io
