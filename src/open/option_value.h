// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "open/option_tree.h"

// Removes options of one kind from a tree. A value of the wrong kind is refused with QEMU's
// message; numbers and booleans are also accepted as strings ("16", "on"), as in QEMU.
namespace byre::open {

std::optional<bool> take_bool(OptionTree& options, std::string_view name);
// A plain number: decimal, hexadecimal or octal, without suffix. A negative one wraps, as in QEMU.
std::optional<uint64_t> take_number(OptionTree& options, std::string_view name);
// A size, which may have a suffix: see parse_size().
std::optional<uint64_t> take_size(OptionTree& options, std::string_view name);

// The same for a text; `name` is for messages.
bool parse_bool_option(std::string_view name, const std::string& text);
uint64_t parse_number_option(std::string_view name, const std::string& text);
uint64_t parse_size_option(std::string_view name, const std::string& text);

// Throws "invalid parameter value: <text>".
[[noreturn]] void refuse_value(const std::string& text);

}  // namespace byre::open
