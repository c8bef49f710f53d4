// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "byre/warning.h"
#include "open/node.h"
#include "open/option_tree.h"

// The options that are common to nodes of every driver.
namespace byre::open {

// What the nodes below inherit from this one unless their own options say otherwise: "read-only",
// "auto-read-only", "cache.direct", "cache.no-flush", "force-share".
void take_inherited(OptionTree& options, NodeFlags& flags);
// "backing" with null or "": the backing file of the image is not opened. The second form is
// deprecated, which is reported to `on_warning`.
bool take_no_backing(OptionTree& options, const OnWarning& on_warning);
// Throws if options contradict each other.
void check_inherited(const NodeFlags& flags);
// "discard", "detect-zeroes".
void take_policy(OptionTree& options, RequestPolicy& policy);

// Throws with QEMU's message for an invalid node name.
void check_node_name(const std::string& name);
bool has_group(const OptionTree& options, std::string_view name);

}  // namespace byre::open
