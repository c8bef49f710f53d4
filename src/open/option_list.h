// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "open/option_tree.h"

namespace byre::open {

struct ImageOptions;

// The argument of `--image-opts`: "driver=qcow2,file.filename=disk.qcow2". A comma in a value is
// doubled. The first word may omit its name, which is then "file". Another word without a value is
// "on", or "off" if it begins with "no"; `warnings` receives QEMU's line for each of these. Of two
// values for one name the last counts. Throws Error with QEMU's message.
OptionTree parse_option_list(std::string_view text, std::vector<std::string>& warnings);

// Makes an image's options those of such a list; the image's name in messages is still `text`.
// `on_warning` receives the warnings of parse_option_list(). Throws Error with QEMU's message, also
// if a format or -U was given as well and conflicts with the list.
void use_option_list(const std::string& text, ImageOptions& options,
                     const std::function<void(const std::string&)>& on_warning);

// Removes the value at the front of `text`, up to a comma that is not doubled, together with that
// comma.
std::string take_option_value(std::string_view& text);

// Whether a text is a valid "id": letters, digits, '-', '.', '_', starting with a letter.
bool is_well_formed_id(std::string_view text);
// QEMU's message for an invalid one.
inline constexpr const char* kBadId =
    "Parameter 'id' expects an identifier\n"
    "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.";

}  // namespace byre::open
