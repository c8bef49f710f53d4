// SPDX-License-Identifier: Apache-2.0
#include "cli/io/write_commands.h"

#include "cli/io/payload.h"
#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/io/request_options.h"
#include "cli/messages.h"
#include "jobs/vm_state.h"

namespace byre::cli::io {
namespace {

struct WriteArguments {
  RequestOptions options;
  std::optional<std::string> filename;  // -s
  int64_t offset = 0;
  std::vector<uint64_t> lengths;
};

[[noreturn]] void refuse(std::string text) {
  throw Refusal{std::move(text)};
}

// Options that are mutually exclusive, in QEMU's order.
void check_together(const WriteArguments& arguments) {
  if (arguments.options.vm_state && arguments.options.zeroes) {
    refuse("-b and -z cannot be specified at the same time");
  }
  if (has_flag(arguments.options.flags, WriteFlags::kFua) &&
      (arguments.options.vm_state || arguments.options.compressed)) {
    refuse("-f and -b or -c cannot be specified at the same time");
  }
  if (has_flag(arguments.options.flags, WriteFlags::kNoFallback) && !arguments.options.zeroes) {
    refuse("-n requires -z to be specified");
  }
  check_unmap(arguments.options);
  if (arguments.options.zeroes + arguments.options.pattern.has_value() +
          arguments.filename.has_value() >
      1) {
    refuse("Only one of -z, -P, and -s can be specified at the same time");
  }
}

WriteArguments write_arguments(CommandLine& line) {
  WriteArguments arguments;
  while (const std::optional<char> option = line.next_option("bcCfnpP:qrs:uz")) {
    if (*option == 's') {
      arguments.filename = line.option_argument();
    } else {
      take_request_option(arguments.options, *option, line);
    }
  }
  if (line.operands().size() != 2) throw UsageRequest{};
  check_together(arguments);
  arguments.offset = parse_offset(line.operands()[0]);
  const int64_t length = parse_offset(line.operands()[1]);
  if (length > kRequestMax && !has_flag(arguments.options.flags, WriteFlags::kNoFallback)) {
    refuse("length cannot exceed " + std::to_string(kRequestMax) + " without -n, given " +
           line.operands()[1]);
  }
  arguments.lengths = {static_cast<uint64_t>(length)};
  if (arguments.options.vm_state || arguments.options.compressed) {
    check_sectors(arguments.offset, arguments.lengths[0]);
  }
  check_registered(arguments.options);
  return arguments;
}

WriteArguments writev_arguments(CommandLine& line) {
  WriteArguments arguments;
  while (const std::optional<char> option = line.next_option("CfqrP:")) {
    take_request_option(arguments.options, *option, line);
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  arguments.offset = parse_offset(line.operands()[0]);
  arguments.lengths = parse_lengths({line.operands().begin() + 1, line.operands().end()});
  return arguments;
}

Buffer payload_of(const WriteArguments& arguments) {
  const uint64_t length = total_of(arguments.lengths);
  if (arguments.filename.has_value()) return file_payload(length, *arguments.filename);
  return pattern_payload(length, arguments.options.pattern.value_or(kDefaultPattern));
}

void tell(const WriteArguments& arguments, std::chrono::nanoseconds duration) {
  print(report_text(
      {"wrote", duration, static_cast<uint64_t>(arguments.offset), total_of(arguments.lengths)},
      arguments.options.style));
}

void write_and_tell(Session& session, const WriteArguments& arguments, const char* what) {
  const auto offset = static_cast<uint64_t>(arguments.offset);
  BlockDevice& device = session.device();
  if (arguments.options.zeroes) {
    Task<void> request =
        checked_zeroes(device, offset, arguments.lengths[0], arguments.options.flags);
    tell(arguments, run_timed(session, what, std::move(request)));
    return;
  }
  Buffer payload = payload_of(arguments);
  const WriteBuffers from =
      segments_of(payload.bytes(0, total_of(arguments.lengths)), arguments.lengths);
  Task<void> request =
      arguments.options.vm_state     ? jobs::write_vm_state(session.image(), offset, from)
      : arguments.options.compressed ? checked_compressed_write(device, offset, from)
                                     : checked_write(device, offset, from, arguments.options.flags);
  tell(arguments, run_timed(session, what, std::move(request)));
}

}  // namespace

void run_write(Session& session, CommandLine& line) {
  write_and_tell(session, write_arguments(line), "write");
}

void run_writev(Session& session, CommandLine& line) {
  const WriteArguments arguments = writev_arguments(line);
  if (arguments.lengths.size() > kVectorMax) refuse("writev failed: Invalid argument");
  write_and_tell(session, arguments, "writev");
}

void run_discard(Session& session, CommandLine& line) {
  RequestOptions options;
  while (const std::optional<char> option = line.next_option("Cq")) {
    take_request_option(options, *option, line);
  }
  if (line.operands().size() != 2) throw UsageRequest{};
  const auto offset = static_cast<uint64_t>(parse_offset(line.operands()[0]));
  const uint64_t length = parse_length(line.operands()[1]);
  const auto duration =
      run_timed(session, "discard", checked_discard(session.device(), offset, length));
  print(report_text({"discard", duration, offset, length}, options.style));
}

}  // namespace byre::cli::io
