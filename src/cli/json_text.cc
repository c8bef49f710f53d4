// SPDX-License-Identifier: Apache-2.0
#include "cli/json_text.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "base/assert.h"
#include "base/json_string.h"

namespace byre::cli {
namespace {

// Every member name that QEMU's commands print, in QEMU's order. It is that of a hash table, so it
// means nothing but is always the same; only the relative order of names that occur in one object
// is visible, and matters.
constexpr auto kNames = std::to_array<std::string_view>({
    "children",
    "backing-filename-format",
    "snapshots",
    "virtual-size",
    // check
    "image-end-offset",
    "compressed-clusters",
    "total-clusters",
    "corruptions",
    "corruptions-fixed",
    "check-errors",
    "leaks",
    "leaks-fixed",
    "allocated-clusters",
    "filename",
    "cluster-size",
    // LUKS
    "ivgen-alg",
    "detached-header",
    "hash-alg",
    "cipher-alg",
    "uuid",
    "ivgen-hash-alg",
    "format",
    "actual-size",
    "format-specific",
    "full-backing-filename",
    "encrypted",
    "backing-filename",
    "dirty-flag",
    "fragmented-clusters",
    "cipher-mode",
    "slots",
    "payload-offset",
    "master-key-iters",
    // a key slot
    "active",
    "iters",
    "key-offset",
    "stripes",
    // qcow2
    "compat",
    "compression-type",
    "lazy-refcounts",
    "bitmaps",
    "refcount-bits",
    "data-file",
    "data-file-raw",
    "encrypt",
    "corrupt",
    "extended-l2",
    // measure
    "required",
    "fully-allocated",
    // a bitmap, a snapshot
    "flags",
    "icount",
    "vm-clock-nsec",
    "name",
    "granularity",
    "date-sec",
    "date-nsec",
    "vm-clock-sec",
    "id",
    "vm-state-size",
    "exclusive-size",
    // a file
    "extent-size-hint",
    // a child, format-specific
    "info",
    "type",
    "data",
});

size_t place_of(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  BYRE_ASSERT(found != kNames.end());
  return static_cast<size_t>(found - kNames.begin());
}

void append_line(std::string& text, int depth) {
  text += '\n';
  text.append(static_cast<size_t>(depth) * 4, ' ');
}

}  // namespace

JsonText::JsonText(Value value) : value_(std::move(value)) {}
JsonText JsonText::object() {
  return JsonText(Value(Object{}));
}
JsonText JsonText::array() {
  return JsonText(Value(Array{}));
}
JsonText::JsonText(bool value) : value_(value) {}
JsonText::JsonText(uint64_t value) : value_(value) {}
JsonText::JsonText(int64_t value) : value_(value) {}
JsonText::JsonText(int value) : value_(int64_t{value}) {}
JsonText::JsonText(uint32_t value) : value_(uint64_t{value}) {}
JsonText::JsonText(std::string value) : value_(std::move(value)) {}
JsonText::JsonText(std::string_view value) : value_(std::string(value)) {}
JsonText::JsonText(const char* value) : value_(std::string(value)) {}

JsonText& JsonText::set(const std::string& name, JsonText value) {
  auto& members = std::get<Object>(value_).members;
  const auto is_before = [](size_t place, const auto& member) {
    return place < place_of(member.first);
  };
  const auto where = std::upper_bound(members.begin(), members.end(), place_of(name), is_before);
  members.emplace(where, name, std::move(value));
  return *this;
}

JsonText& JsonText::add(JsonText value) {
  std::get<Array>(value_).items.push_back(std::move(value));
  return *this;
}

std::string JsonText::to_text() const {
  std::string text;
  append_to(text, 0);
  return text;
}

void JsonText::append_to(std::string& text, int depth) const {
  if (const auto* flag = std::get_if<bool>(&value_)) {
    text += *flag ? "true" : "false";
  } else if (const auto* natural = std::get_if<uint64_t>(&value_)) {
    text += std::to_string(*natural);
  } else if (const auto* integer = std::get_if<int64_t>(&value_)) {
    text += std::to_string(*integer);
  } else if (const auto* string = std::get_if<std::string>(&value_)) {
    text += json_string(*string);
  } else if (const auto* object = std::get_if<Object>(&value_)) {
    text += '{';
    const char* separator = "";
    for (const auto& [name, value] : object->members) {
      text += separator;
      append_line(text, depth + 1);
      text += json_string(name) + ": ";
      value.append_to(text, depth + 1);
      separator = ",";
    }
    append_line(text, depth);
    text += '}';
  } else {
    text += '[';
    const char* separator = "";
    for (const JsonText& item : std::get<Array>(value_).items) {
      text += separator;
      append_line(text, depth + 1);
      item.append_to(text, depth + 1);
      separator = ",";
    }
    append_line(text, depth);
    text += ']';
  }
}

std::string JsonText::to_human_text(int depth) const {
  std::string text;
  append_human_to(text, depth);
  return text;
}

// A member or item with nested parts is printed on the lines after its name.
void JsonText::append_human_entry(std::string& text, const std::string& label, int depth) const {
  text.append(static_cast<size_t>(depth) * 4, ' ');
  text += label + ":";
  if (std::holds_alternative<Object>(value_) || std::holds_alternative<Array>(value_)) {
    text += '\n';
    append_human_to(text, depth + 1);
  } else {
    text += ' ';
    append_human_to(text, depth + 1);
    text += '\n';
  }
}

void JsonText::append_human_to(std::string& text, int depth) const {
  if (const auto* object = std::get_if<Object>(&value_)) {
    for (const auto& [name, value] : object->members) {
      std::string label = name;
      std::replace(label.begin(), label.end(), '-', ' ');
      value.append_human_entry(text, label, depth);
    }
  } else if (const auto* array = std::get_if<Array>(&value_)) {
    for (size_t i = 0; i < array->items.size(); ++i) {
      array->items[i].append_human_entry(text, "[" + std::to_string(i) + "]", depth);
    }
  } else if (const auto* string = std::get_if<std::string>(&value_)) {
    text += *string;
  } else {
    append_to(text, depth);
  }
}

}  // namespace byre::cli
