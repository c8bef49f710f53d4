// SPDX-License-Identifier: Apache-2.0
#include "cli/io/request_options.h"

#include <string>

#include "base/units.h"

namespace byre::cli::io {
namespace {

void check_sector(uint64_t value, const char* what) {
  if (value % kSectorSize == 0) return;
  throw Refusal{std::to_string(value) + " is not a sector-aligned value for '" + std::string(what) +
                "'"};
}

}  // namespace

void take_request_option(RequestOptions& options, char option, const CommandLine& line) {
  switch (option) {
    case 'b':
      options.vm_state = true;
      break;
    case 'c':
      options.compressed = true;
      break;
    case 'C':
      options.style.machine = true;
      break;
    case 'f':
      options.flags = options.flags | WriteFlags::kFua;
      break;
    case 'i':
      options.invalid = true;
      break;
    case 'n':
      options.flags = options.flags | WriteFlags::kNoFallback;
      break;
    case 'P':
      options.pattern = parse_pattern(line.option_argument());
      break;
    case 'q':
      options.style.quiet = true;
      break;
    case 'r':
      options.registered = true;
      break;
    case 'u':
      options.flags = options.flags | WriteFlags::kMayUnmap;
      break;
    case 'v':
      options.dump = true;
      break;
    case 'z':
      options.zeroes = true;
      break;
    default:
      break;
  }
}

void check_unmap(const RequestOptions& options) {
  if (has_flag(options.flags, WriteFlags::kMayUnmap) && !options.zeroes) {
    throw Refusal{"-u requires -z to be specified"};
  }
}

void check_sectors(int64_t offset, uint64_t length) {
  check_sector(static_cast<uint64_t>(offset), "offset");
  check_sector(length, "count");
}

void check_registered(const RequestOptions& options) {
  if (options.zeroes && options.registered) {
    throw Refusal{"cannot combine zero write with registered I/O buffer"};
  }
}

uint64_t parse_length(const std::string& text) {
  const int64_t length = parse_offset(text);
  if (length > kRequestMax) {
    throw Refusal{"length cannot exceed " + std::to_string(kRequestMax) + ", given " + text};
  }
  return static_cast<uint64_t>(length);
}

}  // namespace byre::cli::io
