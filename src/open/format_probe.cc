// SPDX-License-Identifier: Apache-2.0
#include "open/format_probe.h"

#include <algorithm>
#include <string_view>

namespace byre::open {

namespace {

struct Magic {
  const char* format;
  size_t offset;
  std::string_view bytes;
};

using namespace std::string_view_literals;

constexpr Magic kForeign[] = {
    {"vmdk", 0, "KDMV"sv},
    {"vmdk", 0, "COWD"sv},
    {"vmdk", 0, "# Disk DescriptorFile"sv},
    {"vdi", 64, "\x7f\x10\xda\xbe"sv},
    {"vpc", 0, "conectix"sv},
    {"vhdx", 0, "vhdxfile"sv},
    {"qed", 0, "QED\0"sv},
    {"luks", 0, "LUKS\xba\xbe"sv},
    {"parallels", 0, "WithoutFreeSpace"sv},
    {"parallels", 0, "WithouFreSpacExt"sv},
    {"bochs", 0, "Bochs Virtual HD Image"sv},
    {"cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv},
};

bool has_magic(ConstBytes bytes, const Magic& magic) {
  if (bytes.size() < magic.offset + magic.bytes.size()) return false;
  return std::ranges::equal(bytes.subspan(magic.offset, magic.bytes.size()), magic.bytes,
                            [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); });
}

// A VMware descriptor is text: comments and blank lines, then its version. Windows line ends are
// treated as QEMU treats them.
bool is_vmdk_descriptor(std::string_view text) {
  while (!text.empty()) {
    if (text.front() == '#') {
      const size_t end = text.find('\n');
      if (end == std::string_view::npos) return false;
      text.remove_prefix(end + 1);
    } else if (text.front() == ' ') {
      const size_t end = text.find_first_not_of(' ');
      if (end == std::string_view::npos) return false;
      text.remove_prefix(end);
      if (text.starts_with("\r\n")) text.remove_prefix(1);
      if (text.front() != '\n') return false;
      text.remove_prefix(1);
    } else {
      constexpr std::string_view kVersion = "version=";
      if (!text.starts_with(kVersion)) return false;
      text.remove_prefix(kVersion.size());
      if (text.empty() || text.front() < '1' || text.front() > '3') return false;
      text.remove_prefix(1);
      return text.starts_with("\n") || text.starts_with("\r\n");
    }
  }
  return false;
}

bool is_named_dmg(std::string_view filename) {
  constexpr std::string_view kEnd = ".dmg";
  return filename.size() > kEnd.size() && filename.ends_with(kEnd);
}

}  // namespace

std::string probe_format(ConstBytes first_bytes, std::string_view filename) {
  if (has_magic(first_bytes, {"", 0, "QFI\xfb"sv}) && first_bytes.size() >= 8) {
    const uint32_t version = load_big_endian<uint32_t>(&first_bytes[4]);
    if (version >= 2) return "qcow2";
    if (version == 1) return "qcow";
  }
  for (const Magic& magic : kForeign) {
    if (has_magic(first_bytes, magic)) return magic.format;
  }
  const std::string text(first_bytes.begin(), first_bytes.end());
  if (is_vmdk_descriptor(text)) return "vmdk";
  return is_named_dmg(filename) ? "dmg" : "raw";
}

}  // namespace byre::open
