// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "open/node.h"
#include "open/option_tree.h"

// The options that nodes of every driver have.
namespace byre::open {

// What the nodes below have from this one unless they say otherwise: "read-only", "auto-read-only",
// "cache.direct", "cache.no-flush", "force-share".
void take_inherited(OptionTree& options, NodeFlags& flags);
// "backing" with null or "": the backing file that the image names is not opened. The second is a
// thing of the past, and `on_warning` is told so.
bool take_no_backing(OptionTree& options,
                     const std::function<void(const std::string&)>& on_warning);
// Throws where options contradict each other.
void check_inherited(const NodeFlags& flags);
// "discard", "detect-zeroes".
void take_policy(OptionTree& options, RequestPolicy& policy);

// Throws in QEMU's words for what is no name of a node.
void check_node_name(const std::string& name);
bool has_group(const OptionTree& options, std::string_view name);

}  // namespace byre::open
