// SPDX-License-Identifier: Apache-2.0
#include "open/node_options.h"

#include <fmt/format.h>

#include <cerrno>

#include "byre/error.h"
#include "open/invalid_argument.h"
#include "open/option_list.h"
#include "open/option_value.h"

namespace byre::open {

namespace {

constexpr size_t kNodeNameMax = 31;

}  // namespace

void take_inherited(OptionTree& options, NodeFlags& flags) {
  if (const auto read_only = take_bool(options, "read-only")) flags.writable = !*read_only;
  if (const auto is_auto = take_bool(options, "auto-read-only")) flags.auto_read_only = *is_auto;
  if (const auto direct = take_bool(options, "cache.direct")) flags.direct = *direct;
  if (const auto no_flush = take_bool(options, "cache.no-flush")) flags.no_flush = *no_flush;
  if (const auto share = take_bool(options, "force-share")) flags.force_share = *share;
}

bool take_no_backing(OptionTree& options, const OnWarning& on_warning) {
  const bool is_empty = options.find_string("backing") == "";
  if (!is_empty && !options.is_null("backing")) return false;
  if (is_empty && on_warning) {
    on_warning({WarningKind::kDeprecatedOption,
                invalid_argument(
                    "Use of \"backing\": \"\" is deprecated; use \"backing\": null instead")});
  }
  options.remove("backing");
  return true;
}

void check_inherited(const NodeFlags& flags) {
  if (flags.force_share && flags.writable) {
    throw invalid_argument("force-share=on can only be used with read-only images");
  }
}

void take_policy(OptionTree& options, RequestPolicy& policy) {
  if (const auto discard = options.take_text("discard")) {
    if (*discard == "unmap" || *discard == "on") {
      policy.discard = DiscardPolicy::kUnmap;
    } else if (*discard == "ignore" || *discard == "off") {
      policy.discard = DiscardPolicy::kIgnore;
    } else {
      throw invalid_argument("Invalid discard option");
    }
  }
  const auto detect = options.take_text("detect-zeroes");
  if (!detect) return;
  if (*detect == "off") {
    policy.detect_zeroes = DetectZeroes::kOff;
  } else if (*detect == "on") {
    policy.detect_zeroes = DetectZeroes::kOn;
  } else if (*detect == "unmap") {
    policy.detect_zeroes = DetectZeroes::kUnmap;
  } else {
    refuse_value(*detect);
  }
  policy.validate();
}

void check_node_name(const std::string& name) {
  if (!is_well_formed_id(name))
    throw invalid_argument(fmt::format("Invalid node-name: '{}'", name));
  if (name.size() > kNodeNameMax) throw invalid_argument("Node name too long");
}

bool has_group(const OptionTree& options, std::string_view name) {
  const std::string prefix = std::string(name) + ".";
  const auto entry = options.entries().lower_bound(prefix);
  return entry != options.entries().end() && entry->first.starts_with(prefix);
}

}  // namespace byre::open
