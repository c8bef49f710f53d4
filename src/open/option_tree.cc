// SPDX-License-Identifier: Apache-2.0
#include "open/option_tree.h"

#include <utility>

namespace byre::open {

const OptionValue* OptionTree::find(std::string_view name) const {
  const auto found = entries_.find(name);
  return found == entries_.end() ? nullptr : &found->second;
}

std::optional<std::string> OptionTree::find_string(std::string_view name) const {
  const OptionValue* const value = find(name);
  const auto* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  return text == nullptr ? std::nullopt : std::optional(*text);
}

bool OptionTree::is_null(std::string_view name) const {
  const OptionValue* const value = find(name);
  return value != nullptr && std::holds_alternative<std::nullptr_t>(*value);
}

void OptionTree::set(std::string name, OptionValue value) {
  entries_.insert_or_assign(std::move(name), std::move(value));
}

void OptionTree::set_default(std::string name, OptionValue value) {
  entries_.try_emplace(std::move(name), std::move(value));
}

void OptionTree::set_defaults(const OptionTree& weaker) {
  for (const auto& [name, value] : weaker.entries_) entries_.try_emplace(name, value);
}

void OptionTree::remove(std::string_view name) {
  const auto found = entries_.find(name);
  if (found != entries_.end()) entries_.erase(found);
}

OptionTree OptionTree::take_group(std::string_view name) {
  OptionTree group;
  const std::string prefix = std::string(name) + ".";
  auto entry = entries_.lower_bound(prefix);
  while (entry != entries_.end() && entry->first.starts_with(prefix)) {
    group.set(entry->first.substr(prefix.size()), std::move(entry->second));
    entry = entries_.erase(entry);
  }
  return group;
}

std::optional<std::string> OptionTree::take_text(std::string_view name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return std::nullopt;
  const OptionValue value = std::move(found->second);
  entries_.erase(found);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<OptionNumber>(&value)) return number->text;
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "on" : "off";
  return std::nullopt;
}

}  // namespace byre::open
