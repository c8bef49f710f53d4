// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace byre::open {

// A JSON number, in the text in which QEMU prints it.
struct OptionNumber {
  std::string text;
  bool operator==(const OptionNumber&) const = default;
};
// {} or []: a group without members, which says nothing.
struct EmptyGroup {
  bool operator==(const EmptyGroup&) const = default;
};
// nullptr is JSON's null.
using OptionValue = std::variant<std::nullptr_t, bool, OptionNumber, std::string, EmptyGroup>;

// How an image is to be opened, as people say it with `json:{...}` and `--image-opts`: a tree of
// options. It is kept flat, under dotted names ("file.driver"), as QEMU's messages name them.
// Members of a list have their index as a name ("inject-error.0.event").
//
// Whoever opens a device takes out what it understands; what is left is what nobody understood.
class OptionTree {
 public:
  bool empty() const { return entries_.empty(); }
  bool has(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  const OptionValue* find(std::string_view name) const;
  // Only where it is a string.
  std::optional<std::string> find_string(std::string_view name) const;
  bool is_null(std::string_view name) const;

  // Replaces what was there.
  void set(std::string name, OptionValue value);
  // Does nothing where there is something.
  void set_default(std::string name, OptionValue value);
  void set_defaults(const OptionTree& weaker);
  void remove(std::string_view name);
  // The options below "<name>.", without that prefix, taken out of this tree.
  OptionTree take_group(std::string_view name);
  // The text of an option that was a string, a number or a bool ("on", "off"), taken out. Nothing,
  // and taken out too, where it is null or an empty group: these say nothing, as in QEMU.
  std::optional<std::string> take_text(std::string_view name);

  // By name.
  const std::map<std::string, OptionValue, std::less<>>& entries() const { return entries_; }
  bool operator==(const OptionTree&) const = default;

 private:
  std::map<std::string, OptionValue, std::less<>> entries_;
};

}  // namespace byre::open
