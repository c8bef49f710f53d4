// SPDX-License-Identifier: Apache-2.0
#include "cli/io/read_commands.h"

#include <cerrno>

#include "cli/io/payload.h"
#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/io/request_options.h"
#include "cli/messages.h"
#include "jobs/vm_state.h"

namespace byre::cli::io {
namespace {

struct ReadArguments {
  RequestOptions options;
  // The range that -P checks; the whole read unless -s and -l are given.
  std::optional<int64_t> check_offset;
  std::optional<int64_t> check_length;
  int64_t offset = 0;
  std::vector<uint64_t> lengths;
};

// Prints what was read and how long it took; throws Refusal{} with an empty text if the pattern
// does not match.
bool show(const ReadArguments& arguments, ConstBytes bytes, std::chrono::nanoseconds duration) {
  const auto offset = static_cast<uint64_t>(arguments.offset);
  bool matches = true;
  if (arguments.options.pattern.has_value()) {
    const auto skipped = static_cast<size_t>(arguments.check_offset.value_or(0));
    const auto length = static_cast<size_t>(
        arguments.check_length.value_or(static_cast<int64_t>(bytes.size() - skipped)));
    matches = is_all(bytes.subspan(skipped, length), *arguments.options.pattern);
    if (!matches) print(pattern_failure(offset + skipped, length));
  }
  if (arguments.options.style.quiet) return matches;
  if (arguments.options.dump) print(dump_text(bytes, offset));
  print(report_text({"read", duration, offset, bytes.size()}, arguments.options.style));
  return matches;
}

void check_range_of_pattern(const ReadArguments& arguments) {
  if (!arguments.options.pattern.has_value()) {
    if (arguments.check_offset.has_value() || arguments.check_length.has_value()) {
      throw UsageRequest{};
    }
    return;
  }
  const int64_t total = static_cast<int64_t>(arguments.lengths[0]);
  const int64_t skipped = arguments.check_offset.value_or(0);
  if (skipped > total || arguments.check_length.value_or(0) > total - skipped) {
    throw Refusal{"pattern verification range exceeds end of read data"};
  }
}

ReadArguments read_arguments(CommandLine& line) {
  ReadArguments arguments;
  while (const std::optional<char> option = line.next_option("bCl:pP:qrs:v")) {
    if (*option == 'l') {
      arguments.check_length = parse_offset(line.option_argument());
    } else if (*option == 's') {
      arguments.check_offset = parse_offset(line.option_argument());
    } else {
      take_request_option(arguments.options, *option, line);
    }
  }
  if (line.operands().size() != 2) throw UsageRequest{};
  arguments.offset = parse_offset(line.operands()[0]);
  arguments.lengths = {parse_length(line.operands()[1])};
  return arguments;
}

ReadArguments readv_arguments(CommandLine& line) {
  ReadArguments arguments;
  while (const std::optional<char> option = line.next_option("CP:qrv")) {
    take_request_option(arguments.options, *option, line);
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  arguments.offset = parse_offset(line.operands()[0]);
  arguments.lengths = parse_lengths({line.operands().begin() + 1, line.operands().end()});
  return arguments;
}

void read_and_show(Session& session, const ReadArguments& arguments, const char* what) {
  const auto offset = static_cast<uint64_t>(arguments.offset);
  Buffer buffer = make_buffer(total_of(arguments.lengths));
  const Bytes bytes = buffer.bytes(0, total_of(arguments.lengths));
  const ReadBuffers to = segments_of(bytes, arguments.lengths);
  Task<void> request = arguments.options.vm_state ? jobs::read_vm_state(session.image(), offset, to)
                                                  : checked_read(session.device(), offset, to);
  const auto duration = run_timed(session, what, std::move(request));
  if (!show(arguments, bytes, duration)) throw Refusal{};
}

}  // namespace

void run_read(Session& session, CommandLine& line) {
  const ReadArguments arguments = read_arguments(line);
  check_range_of_pattern(arguments);
  if (arguments.options.vm_state) check_sectors(arguments.offset, arguments.lengths[0]);
  read_and_show(session, arguments, "read");
}

void run_readv(Session& session, CommandLine& line) {
  const ReadArguments arguments = readv_arguments(line);
  if (arguments.lengths.size() > kVectorMax) throw Refusal{"readv failed: Invalid argument"};
  read_and_show(session, arguments, "readv");
}

}  // namespace byre::cli::io
