// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "open/blkdebug_rules.h"
#include "open/image_name.h"
#include "open/option_json.h"
#include "open/option_list.h"

// Any text as an image's name in JSON, as a list of options, and as a rules file of blkdebug: it is
// refused with a message, or gives options that can be consumed.
namespace {

using namespace byre;
using namespace byre::open;

template <class F>
void refuse_or_take(F function) {
  try {
    function();
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
  }
}

void take_all(OptionTree tree) {
  refuse_or_take([&] { take_blkdebug_rules(tree); });
  std::vector<std::string> names;
  for (const auto& [name, value] : tree.entries()) names.push_back(name);
  const size_t count = tree.entries().size();
  const OptionTree group = tree.take_group("file");
  BYRE_ASSERT(tree.entries().size() + group.entries().size() == count);
  for (const std::string& name : names) tree.take_text(name);
  BYRE_ASSERT(tree.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  refuse_or_take([&] { take_all(parse_option_json(text)); });
  refuse_or_take([&] {
    std::vector<std::string> warnings;
    take_all(parse_option_list(text, warnings));
  });
  refuse_or_take([&] { parse_blkdebug_file(text); });
  const std::string name(text);
  refuse_or_take([&] { parse_json_name(name); });
  protocol_of(name);
  resolve_relative(name, name);
  return 0;
}
