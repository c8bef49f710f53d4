// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace byre::cli {

// A JSON value that is printed as QEMU prints the results of its commands: four spaces of indent,
// members in the order of QEMU's tables (independent of the order in which they are set),
// everything but ASCII as \uXXXX. No parsing.
//
//   JsonText image = JsonText::object();
//   image.set("virtual-size", size).set("format", "qcow2").set("dirty-flag", false);
//   std::string text = image.to_text();   // no final newline
class JsonText {
 public:
  static JsonText object();
  static JsonText array();
  JsonText(bool value);              // NOLINT: values convert on purpose
  JsonText(uint64_t value);          // NOLINT
  JsonText(int64_t value);           // NOLINT
  JsonText(int value);               // NOLINT
  JsonText(uint32_t value);          // NOLINT
  JsonText(std::string value);       // NOLINT
  JsonText(std::string_view value);  // NOLINT
  JsonText(const char* value);       // NOLINT

  // For an object. Every name must be in the table of json_text.cc, which defines the order; a unit
  // test compares it with QEMU's output.
  JsonText& set(const std::string& name, JsonText value);
  // For an array.
  JsonText& add(JsonText value);

  std::string to_text() const;
  // For people, as `info` shows format-specific details: "name: value" lines without quotes, dashes
  // in names replaced by spaces, items as "[0]:"; `depth` levels of four spaces before each.
  std::string to_human_text(int depth) const;

 private:
  struct Object {
    std::vector<std::pair<std::string, JsonText>> members;
  };
  struct Array {
    std::vector<JsonText> items;
  };
  using Value = std::variant<bool, uint64_t, int64_t, std::string, Object, Array>;
  explicit JsonText(Value value);
  void append_to(std::string& text, int depth) const;
  void append_human_to(std::string& text, int depth) const;
  void append_human_entry(std::string& text, const std::string& label, int depth) const;
  Value value_;
};

}  // namespace byre::cli
