// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "block/block_device.h"
#include "cli/io/command_line.h"
#include "cli/io/report.h"

namespace byre::cli::io {

// The options of commands that make requests, as far as they have the same meaning for all of them.
struct RequestOptions {
  ReportStyle style;                     // -q, -C
  bool dump = false;                     // -v
  bool vm_state = false;                 // -b
  bool compressed = false;               // -c
  bool zeroes = false;                   // -z
  bool registered = false;               // -r
  bool invalid = false;                  // -i
  WriteFlags flags = WriteFlags::kNone;  // -f, -n, -u
  std::optional<uint8_t> pattern;        // -P
};

// Handles the option that next_option() returned. Others, and -p, which has no effect, change
// nothing.
void take_request_option(RequestOptions& options, char option, const CommandLine& line);

// Throws Refusal if -u is given without -z, or if zeroes would come from a registered buffer.
void check_unmap(const RequestOptions& options);
void check_registered(const RequestOptions& options);

// Throws Refusal unless both are multiples of 512, which -b requires.
void check_sectors(int64_t offset, uint64_t length);

// A length of at most kRequestMax. Throws Refusal.
uint64_t parse_length(const std::string& text);

}  // namespace byre::cli::io
