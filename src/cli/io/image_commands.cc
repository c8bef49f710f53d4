// SPDX-License-Identifier: Apache-2.0
#include "cli/io/image_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/checked.h"
#include "base/units.h"
#include "cli/info_text.h"
#include "cli/io/opening.h"
#include "cli/io/report.h"
#include "cli/io/request.h"
#include "cli/messages.h"
#include "jobs/info.h"
#include "open/open.h"
#include "storage/cache_mode.h"

namespace byre::cli::io {
namespace {

[[noreturn]] void refuse(std::string message) {
  throw Error(ErrorKind::kInvalidArgument, EINVAL, std::move(message));
}

Preallocation parse_preallocation(const std::string& text) {
  const std::optional<Preallocation> mode = preallocation_named(text);
  if (!mode) refuse("Invalid preallocation mode '" + text + "'");
  return *mode;
}

// Protocol drivers: QEMU prints their names twice.
constexpr std::string_view kProtocols[] = {"file", "host_device", "host_cdrom", "null-co",
                                           "blkdebug"};

void print_name(const std::string& driver) {
  const bool is_protocol = std::ranges::find(kProtocols, driver) != std::end(kProtocols);
  for (int i = 0; i < (is_protocol ? 2 : 1); ++i) print("format name: " + driver + "\n");
}

// Whether the bytes come from one of the drivers about which QEMU prints no details.
bool has_no_details(const BlockDevice& device) {
  const std::string_view driver = leaf_of(device).driver();
  return driver == "null-co" || driver == "host_cdrom";
}

void print_places(uint64_t cluster_size, uint64_t vm_state_offset) {
  print("cluster size: " + amount_text(static_cast<double>(cluster_size)) + "\n");
  print("vm state offset: " + amount_text(static_cast<double>(vm_state_offset)) + "\n");
}

}  // namespace

void run_open(Session& session, CommandLine& line) {
  OpenRequest request;
  while (const std::optional<char> option = line.next_option("snCro:ki:t:d:U")) {
    const std::string argument = line.option_argument();
    if (request.take_option(*option, argument)) continue;
    if (*option == 'o') request.add_options(argument, session.invocation());
  }
  if (line.operands().size() > 1) throw UsageRequest{};
  if (!line.operands().empty()) request.filename = line.operands()[0];
  session.open(std::move(request));
}

void run_close(Session& session, CommandLine&) {
  session.close();
}

void run_flush(Session& session, CommandLine&) {
  try {
    session.run_unstopped(session.device().flush());
  } catch (const Error& error) {
    throw Refusal{"", failure_of("flush", error).hint};
  }
}

void run_info(Session& session, CommandLine&) {
  BlockDevice& device = session.image();
  print_name(device.driver());
  if (open::as_qcow2(&device) == nullptr) {
    if (has_no_details(device)) throw Refusal{};
    print_places(0, 0);
    return;
  }
  const jobs::ImageInfo info = session.run(jobs::device_info(device));
  print_places(*info.cluster_size, info.qcow2->vm_state_offset);
  print("Format specific information:\n" + qcow2_details(*info.qcow2).to_human_text(1));
}

void run_length(Session& session, CommandLine&) {
  // A file on its own may end inside a sector; as in QEMU, that counts as a whole one.
  const uint64_t size = align_up(session.device().size(), kSectorSize);
  print(amount_text(static_cast<double>(size)) + "\n");
}

void run_reopen(Session& session, CommandLine& line) {
  OpenRequest request = session.request();
  OpenRequest changes;
  bool has_mode = false;
  bool has_cache = false;
  while (const std::optional<char> option = line.next_option("c:o:rw")) {
    switch (*option) {
      case 'c':
        request.set_cache(line.option_argument());
        has_cache = true;
        break;
      case 'o':
        changes.add_options(line.option_argument(), session.invocation());
        break;
      case 'r':
      case 'w':
        if (has_mode) refuse("Only one -r/-w option may be given");
        has_mode = true;
        request.read_only = *option == 'r';
        break;
      default:
        break;
    }
  }
  if (!line.operands().empty()) throw UsageRequest{};
  if (has_mode && changes.has_option("read-only")) refuse("Cannot set both -r/-w and 'read-only'");
  if (has_cache && (changes.has_option("cache.direct") || changes.has_option("cache.no-flush"))) {
    refuse("Cannot set both -c and the cache options");
  }
  // As in QEMU, only the first opening of a file requires direct access for aio=native.
  if (!storage::is_direct(request.cache)) request.native_aio = false;
  request.change_options(changes, session.image());
  session.reopen(request);
}

void run_truncate(Session& session, CommandLine& line) {
  Preallocation preallocation = Preallocation::kOff;
  while (const std::optional<char> option = line.next_option("m:")) {
    preallocation = parse_preallocation(line.option_argument());
  }
  // QEMU names the first word, whatever it is.
  const std::string text = line.operands().empty() ? "" : line.operands()[0];
  const auto size = static_cast<uint64_t>(parse_offset(text, line.word(1)));
  BlockDevice& device = session.device();
  if (open::as_qcow2(&session.image()) != nullptr && size % kSectorSize != 0) {
    refuse("The new size must be a multiple of 512");
  }
  session.run_unstopped(device.resize(size, preallocation));
}

}  // namespace byre::cli::io
