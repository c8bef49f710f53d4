// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace byre::open {

// A JSON number, in the form in which QEMU prints it.
struct OptionNumber {
  std::string text;
  bool operator==(const OptionNumber&) const = default;
};
// {} or []: a group without members, which has no effect.
struct EmptyGroup {
  bool operator==(const EmptyGroup&) const = default;
};
// nullptr is JSON's null.
using OptionValue = std::variant<std::nullptr_t, bool, OptionNumber, std::string, EmptyGroup>;

// How an image is to be opened, as specified with `json:{...}` and `--image-opts`: a tree of
// options. It is stored flat, under dotted names ("file.driver"), as they appear in QEMU's
// messages. Members of a list have their index as a name ("inject-error.0.event").
//
// Code that opens a device removes the options that it understands; what is left was not
// understood.
class OptionTree {
 public:
  bool empty() const { return entries_.empty(); }
  bool has(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  const OptionValue* find(std::string_view name) const;
  // Only if it is a string.
  std::optional<std::string> find_string(std::string_view name) const;
  bool is_null(std::string_view name) const;

  // Replaces an existing value.
  void set(std::string name, OptionValue value);
  // Does nothing if there is a value.
  void set_default(std::string name, OptionValue value);
  void set_defaults(const OptionTree& weaker);
  void remove(std::string_view name);
  // The options below "<name>.", without that prefix, removed from this tree.
  OptionTree take_group(std::string_view name);
  // The text of an option that was a string, a number or a bool ("on", "off"), removed from the
  // tree. Nothing, but also removed, if it is null or an empty group: these have no effect, as in
  // QEMU.
  std::optional<std::string> take_text(std::string_view name);

  // Sorted by name.
  const std::map<std::string, OptionValue, std::less<>>& entries() const { return entries_; }
  bool operator==(const OptionTree&) const = default;

 private:
  std::map<std::string, OptionValue, std::less<>> entries_;
};

}  // namespace byre::open
