// SPDX-License-Identifier: Apache-2.0
#include "open/node.h"

#include <algorithm>
#include <array>

#include "base/json_string.h"
#include "open/driver.h"

namespace byre::open {

namespace {

// The order in which QEMU prints members. It is that of a hash table, so it means nothing, but is
// always the same. '#' stands for an index of "inject-error".
constexpr std::array<std::string_view, 42> kOrder{"set-state.1.event",
                                                  "inject-error.#.state",
                                                  "opt-write-zero",
                                                  "inject-error.#.immediately",
                                                  "read-zeroes",
                                                  "set-state.0.event",
                                                  "encrypt.format",
                                                  "set-state.3.state",
                                                  "inject-error.#.once",
                                                  "set-state.2.new_state",
                                                  "max-write-zero",
                                                  "offset",
                                                  "image",
                                                  "data-file",
                                                  "max-transfer",
                                                  "set-state.2.state",
                                                  "encrypt.key-secret",
                                                  "driver",
                                                  "set-state.1.new_state",
                                                  "set-state.1.state",
                                                  "config",
                                                  "filename",
                                                  "inject-error.#.iotype",
                                                  "size",
                                                  "set-state.0.new_state",
                                                  "inject-error.#.event",
                                                  "inject-error.#.errno",
                                                  "opt-discard",
                                                  "set-state.3.event",
                                                  "set-state.0.state",
                                                  "inject-error.#.sector",
                                                  "latency-ns",
                                                  "set-state.2.event",
                                                  "bottom",
                                                  "max-discard",
                                                  "align",
                                                  "file",
                                                  "backing",
                                                  "set-state.3.new_state",
                                                  "set-state",
                                                  "inject-error",
                                                  "x-image"};

std::string without_index(const std::string& name) {
  constexpr std::string_view kList = "inject-error.";
  if (!name.starts_with(kList)) return name;
  const size_t dot = name.find('.', kList.size());
  return dot == std::string::npos ? name : std::string(kList) + "#" + name.substr(dot);
}

// Members that are not in the table come last, by name.
std::pair<size_t, std::string> place_of(const std::string& name) {
  const auto found = std::ranges::find(kOrder, without_index(name));
  return {static_cast<size_t>(found - kOrder.begin()), name};
}

std::string json_text(const OptionValue& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return json_string(*text);
  if (const auto* number = std::get_if<OptionNumber>(&value)) return number->text;
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  return std::holds_alternative<EmptyGroup>(value) ? "{}" : "null";
}

}  // namespace

storage::CacheMode NodeFlags::cache_mode() const {
  if (direct) return storage::CacheMode::kNone;
  return no_flush ? storage::CacheMode::kUnsafe : storage::CacheMode::kWriteback;
}

void NodeRequest::describe_option(const std::string& name) {
  const OptionValue* const value = options.find(name);
  if (value != nullptr) description.emplace_back(name, json_text(*value));
}

void NodeRequest::describe_child(const std::string& name, const Node& child) {
  description.emplace_back(name, child.description);
}

std::string NodeRequest::description_text() const {
  auto members = description;
  members.emplace_back("driver", json_string(driver->name));
  std::ranges::sort(members, {}, [](const auto& member) { return place_of(member.first); });
  std::string text = "{";
  for (const auto& [name, value] : members) {
    if (text.size() > 1) text += ", ";
    text += json_string(name) + ": " + value;
  }
  return text + "}";
}

}  // namespace byre::open
