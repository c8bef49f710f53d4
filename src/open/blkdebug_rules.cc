// SPDX-License-Identifier: Apache-2.0
#include "open/blkdebug_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include "base/checked.h"
#include "base/units.h"
#include "byre/error.h"
#include "open/invalid_argument.h"
#include "open/option_list.h"
#include "open/option_value.h"

namespace byre::open {

namespace {

using filter::BlkdebugRule;

constexpr const char* kInjectError = "inject-error";
constexpr const char* kSetState = "set-state";

// One section: its kind and its options. Unknown options are left in `options`.
BlkdebugRule take_rule(const std::string& section, OptionTree& options) {
  BlkdebugRule rule;
  const auto number = [&options](const char* name, uint64_t none) {
    return take_number(options, name).value_or(none);
  };
  const auto event = options.take_text("event");
  rule.state = static_cast<int>(number("state", 0));
  std::optional<std::string> kind;
  if (section == kInjectError) {
    rule.action = BlkdebugRule::Action::kInjectError;
    rule.errno_value = static_cast<int>(number("errno", EIO));
    const auto sector = static_cast<int64_t>(number("sector", UINT64_MAX));
    if (sector != -1) {
      // A sector number that is too large matches no byte of a device.
      rule.offset = checked_mul(static_cast<uint64_t>(sector), kSectorSize).value_or(UINT64_MAX);
    }
    rule.once = take_bool(options, "once").value_or(false);
    rule.immediately = take_bool(options, "immediately").value_or(false);
    kind = options.take_text("iotype");
  } else {
    rule.action = BlkdebugRule::Action::kSetState;
    rule.new_state = static_cast<int>(number("new_state", 0));
  }
  if (!event) throw invalid_argument("Missing event name for rule");
  const std::optional<DebugEvent> known = parse_debug_event(*event);
  if (!known) refuse_value(*event);
  rule.event = *known;
  if (kind) {
    const auto request = filter::parse_request_kind(*kind);
    if (!request) refuse_value(*kind);
    rule.kinds = *request;
  }
  return rule;
}

struct Section {
  std::string kind;
  OptionTree options;
};

bool is_known(const std::string& section, std::string_view name) {
  constexpr std::array<std::string_view, 7> kOfErrors{"event",  "state", "iotype",     "errno",
                                                      "sector", "once",  "immediately"};
  constexpr std::array<std::string_view, 3> kOfStates{"event", "state", "new_state"};
  return section == kInjectError ? std::ranges::find(kOfErrors, name) != kOfErrors.end()
                                 : std::ranges::find(kOfStates, name) != kOfStates.end();
}

// The kinds of sections in the order in which their rules apply.
std::vector<BlkdebugRule> rules_of(std::vector<Section>& sections) {
  std::vector<BlkdebugRule> rules;
  for (const char* kind : {kInjectError, kSetState}) {
    for (Section& section : sections) {
      if (section.kind == kind) rules.push_back(take_rule(kind, section.options));
    }
  }
  return rules;
}

class RulesFile {
 public:
  std::vector<BlkdebugRule> parse(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
      take_line(text.substr(0, end));
      text.remove_prefix(end);
    }
    return rules_of(sections_);
  }

 private:
  static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  // Includes the line end, which is part of what messages quote.
  void take_line(std::string_view line) {
    if (line.front() == '\n' || line.front() == '#') return;
    if (line.front() == '[') {
      take_heading(line);
      return;
    }
    size_t start = 0;
    while (start < line.size() && is_space(line[start])) ++start;
    line.remove_prefix(start);
    if (sections_.empty()) throw invalid_argument("no group defined");
    if (line.empty()) throw invalid_argument("parse error");
    take_option(line);
  }

  void take_heading(std::string_view line) {
    line.remove_prefix(1);
    const size_t end = line.find_first_of("]");
    std::string name(line.substr(0, end));
    const size_t quote = name.find(" \"");
    if (quote != std::string::npos) {
      std::string id = name.substr(quote + 2);
      id = id.substr(0, id.find('"'));
      name = name.substr(0, quote);
      check_id(name, id);
    }
    if (name != kInjectError && name != kSetState) {
      throw invalid_argument(fmt::format("There is no option group '{}'", name));
    }
    sections_.push_back({name, {}});
  }

  void check_id(const std::string& section, const std::string& id) {
    if (!is_well_formed_id(id)) throw invalid_argument(kBadId);
    if (!ids_.insert(section + "/" + id).second) {
      throw invalid_argument(fmt::format("Duplicate ID '{}' for {}", id, section));
    }
  }

  // name = "value"; anything else is a name without a value.
  void take_option(std::string_view line) {
    const auto space = std::ranges::find_if(line, is_space);
    const std::string name(line.begin(), space);
    std::string_view rest(space, line.end());
    const auto skip = [&rest] {
      while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    };
    std::string value;
    skip();
    if (rest.starts_with('=')) {
      rest.remove_prefix(1);
      skip();
      if (rest.starts_with('"')) {
        rest.remove_prefix(1);
        value = std::string(rest.substr(0, rest.find('"')));
      }
    }
    Section& section = sections_.back();
    if (!is_known(section.kind, name))
      throw invalid_argument(fmt::format("Invalid parameter '{}'", name));
    section.options.set(name, value);
  }

  std::vector<Section> sections_;
  std::set<std::string> ids_;
};

// The items of a list: groups "0", "1", and so on. A group that is not a list is one item.
std::vector<Section> take_sections(const std::string& kind, OptionTree& options) {
  OptionTree group = options.take_group(kind);
  std::vector<Section> sections;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool is_list = std::ranges::all_of(group.entries(), [&](const auto& entry) {
    return is_digit(entry.first.empty() ? '\0' : entry.first.front());
  });
  if (!is_list) {
    sections.push_back({kind, std::move(group)});
    return sections;
  }
  while (true) {
    OptionTree item = group.take_group(std::to_string(sections.size()));
    if (item.empty()) break;
    sections.push_back({kind, std::move(item)});
  }
  if (!group.empty()) {
    throw invalid_argument(
        fmt::format("Unused option '{}' for [{}]", group.entries().begin()->first, kind));
  }
  return sections;
}

}  // namespace

std::vector<BlkdebugRule> parse_blkdebug_file(std::string_view text) {
  return RulesFile().parse(text);
}

std::vector<BlkdebugRule> take_blkdebug_rules(OptionTree& options) {
  std::vector<Section> sections = take_sections(kInjectError, options);
  for (Section& section : take_sections(kSetState, options)) sections.push_back(std::move(section));
  for (const Section& section : sections) {
    for (const auto& [name, value] : section.options.entries()) {
      if (is_known(section.kind, name)) continue;
      throw invalid_argument(
          fmt::format("[{}] section doesn't support the option '{}'", section.kind, name));
    }
  }
  return rules_of(sections);
}

}  // namespace byre::open
