// SPDX-License-Identifier: Apache-2.0
#include "cli/io/write_commands.h"

#include "cli/io/payload.h"
#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/io/vm_state.h"
#include "cli/messages.h"

namespace byre::cli::io {
namespace {

struct WriteArguments {
  ReportStyle style;
  bool vm_state = false;
  bool compressed = false;
  bool zeroes = false;
  bool registered = false;
  WriteFlags flags = WriteFlags::kNone;
  std::optional<uint8_t> pattern;
  std::optional<std::string> filename;  // -s
  int64_t offset = 0;
  std::vector<uint64_t> lengths;
};

[[noreturn]] void refuse(std::string text) {
  throw Refusal{std::move(text)};
}

void take_option(WriteArguments& arguments, char option, const CommandLine& line) {
  switch (option) {
    case 'b':
      arguments.vm_state = true;
      break;
    case 'c':
      arguments.compressed = true;
      break;
    case 'C':
      arguments.style.machine = true;
      break;
    case 'f':
      arguments.flags = arguments.flags | WriteFlags::kFua;
      break;
    case 'n':
      arguments.flags = arguments.flags | WriteFlags::kNoFallback;
      break;
    case 'P':
      arguments.pattern = parse_pattern(line.option_argument());
      break;
    case 'q':
      arguments.style.quiet = true;
      break;
    case 'r':
      arguments.registered = true;
      break;
    case 's':
      arguments.filename = line.option_argument();
      break;
    case 'u':
      arguments.flags = arguments.flags | WriteFlags::kMayUnmap;
      break;
    case 'z':
      arguments.zeroes = true;
      break;
    default:  // p: nothing to do
      break;
  }
}

// Options that do not go together, in QEMU's order.
void check_together(const WriteArguments& arguments) {
  if (arguments.vm_state && arguments.zeroes) {
    refuse("-b and -z cannot be specified at the same time");
  }
  if (has_flag(arguments.flags, WriteFlags::kFua) && (arguments.vm_state || arguments.compressed)) {
    refuse("-f and -b or -c cannot be specified at the same time");
  }
  if (has_flag(arguments.flags, WriteFlags::kNoFallback) && !arguments.zeroes) {
    refuse("-n requires -z to be specified");
  }
  if (has_flag(arguments.flags, WriteFlags::kMayUnmap) && !arguments.zeroes) {
    refuse("-u requires -z to be specified");
  }
  if (arguments.zeroes + arguments.pattern.has_value() + arguments.filename.has_value() > 1) {
    refuse("Only one of -z, -P, and -s can be specified at the same time");
  }
}

WriteArguments write_arguments(CommandLine& line) {
  WriteArguments arguments;
  while (const std::optional<char> option = line.next_option("bcCfnpP:qrs:uz")) {
    take_option(arguments, *option, line);
  }
  if (line.operands().size() != 2) throw UsageRequest{};
  check_together(arguments);
  arguments.offset = parse_offset(line.operands()[0]);
  const int64_t length = parse_offset(line.operands()[1]);
  if (length > kRequestMax && !has_flag(arguments.flags, WriteFlags::kNoFallback)) {
    refuse("length cannot exceed " + std::to_string(kRequestMax) + " without -n, given " +
           line.operands()[1]);
  }
  arguments.lengths = {static_cast<uint64_t>(length)};
  if (arguments.vm_state || arguments.compressed) {
    check_sectors(arguments.offset, arguments.lengths[0]);
  }
  if (arguments.zeroes && arguments.registered) {
    refuse("cannot combine zero write with registered I/O buffer");
  }
  return arguments;
}

WriteArguments writev_arguments(CommandLine& line) {
  WriteArguments arguments;
  while (const std::optional<char> option = line.next_option("CfqrP:")) {
    take_option(arguments, *option, line);
  }
  if (line.operands().size() < 2) throw UsageRequest{};
  arguments.offset = parse_offset(line.operands()[0]);
  arguments.lengths = parse_lengths({line.operands().begin() + 1, line.operands().end()});
  return arguments;
}

Buffer payload_of(const WriteArguments& arguments) {
  const uint64_t length = total_of(arguments.lengths);
  if (arguments.filename.has_value()) return file_payload(length, *arguments.filename);
  return pattern_payload(length, arguments.pattern.value_or(kDefaultPattern));
}

void tell(const WriteArguments& arguments, std::chrono::nanoseconds duration) {
  print(report_text(
      {"wrote", duration, static_cast<uint64_t>(arguments.offset), total_of(arguments.lengths)},
      arguments.style));
}

void write_and_tell(Session& session, const WriteArguments& arguments, const char* what) {
  const auto offset = static_cast<uint64_t>(arguments.offset);
  BlockDevice& device = session.device();
  if (arguments.zeroes) {
    Task<void> request = checked_zeroes(device, offset, arguments.lengths[0], arguments.flags);
    tell(arguments, run_timed(session, what, std::move(request)));
    return;
  }
  Buffer payload = payload_of(arguments);
  const IoVector from =
      segments_of(payload.bytes(0, total_of(arguments.lengths)), arguments.lengths);
  Task<void> request = arguments.vm_state ? write_vm_state(session.image(), offset, from)
                       : arguments.compressed
                           ? checked_compressed_write(device, offset, from)
                           : checked_write(device, offset, from, arguments.flags);
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
  ReportStyle style;
  while (const std::optional<char> option = line.next_option("Cq")) {
    (*option == 'C' ? style.machine : style.quiet) = true;
  }
  if (line.operands().size() != 2) throw UsageRequest{};
  const auto offset = static_cast<uint64_t>(parse_offset(line.operands()[0]));
  const int64_t length = parse_offset(line.operands()[1]);
  if (length > kRequestMax) {
    refuse("length cannot exceed " + std::to_string(kRequestMax) + ", given " + line.operands()[1]);
  }
  const auto bytes = static_cast<uint64_t>(length);
  const auto duration =
      run_timed(session, "discard", checked_discard(session.device(), offset, bytes));
  print(report_text({"discard", duration, offset, bytes}, style));
}

}  // namespace byre::cli::io
