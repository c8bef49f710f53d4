// SPDX-License-Identifier: Apache-2.0
#include "codec/luks_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "base/assert.h"
#include "base/units.h"
#include "byre/error.h"

namespace byre::codec {
namespace {

struct RawKeySlot {
  Be32 active;
  Be32 iterations;
  uint8_t salt[32];
  Be32 key_material_offset;  // sectors
  Be32 stripes;
};

struct RawLuksHeader {
  uint8_t magic[6];
  Be16 version;
  char cipher_name[32];
  char cipher_mode[32];
  char hash_spec[32];
  Be32 payload_offset;  // sectors
  Be32 key_bytes;
  uint8_t master_key_digest[20];
  uint8_t master_key_salt[32];
  Be32 master_key_iterations;
  char uuid[40];
  RawKeySlot key_slots[LuksHeader::kKeySlots];
};
static_assert(sizeof(RawKeySlot) == 48 && sizeof(RawLuksHeader) == LuksHeader::kSize);
static_assert(offsetof(RawLuksHeader, payload_offset) == 104);
static_assert(offsetof(RawLuksHeader, uuid) == 168);
static_assert(offsetof(RawLuksHeader, key_slots) == 208);

constexpr uint8_t kMagic[6] = {'L', 'U', 'K', 'S', 0xba, 0xbe};
constexpr uint16_t kVersion = 1;
constexpr uint32_t kKeyActive = 0x00ac71f3;
constexpr uint32_t kKeyDisabled = 0x0000dead;
constexpr uint32_t kKeyBytesMax = 64;

// A field with a zero-terminated string; without a zero it would have no end.
template <size_t N>
std::string text_field(const char (&field)[N], Literal name) {
  const char* end = std::find(field, field + N, '\0');
  if (end == field + N) {
    throw Error(
        ErrorKind::kCorrupt, EINVAL,
        ErrorData{.code = "luks-text-without-end", .field = name, .bound = N},
        "the " + std::string(name) + " has no zero within its " + std::to_string(N) + " bytes");
  }
  return std::string(field, end);
}

// "xts-plain64", "cbc-essiv:sha256": mode, IV generator, and the hash that it takes.
void parse_mode(const std::string& text, LuksHeader& header) {
  const size_t dash = text.find('-');
  if (dash == std::string::npos) {
    throw Error(ErrorKind::kCorrupt, EINVAL,
                ErrorData{.code = "luks-cipher-mode-invalid", .field = "cipher mode", .text = text},
                "the cipher mode is '" + text + "', not a mode, a dash and an IV generator");
  }
  header.cipher_mode = text.substr(0, dash);
  const size_t colon = text.find(':', dash);
  header.iv_generator =
      text.substr(dash + 1, colon == std::string::npos ? colon : colon - dash - 1);
  if (colon != std::string::npos) header.iv_hash = text.substr(colon + 1);
}

LuksHeader::KeySlot parse_slot(const RawKeySlot& raw, size_t index) {
  if (raw.active != kKeyActive && raw.active != kKeyDisabled) {
    throw Error(ErrorKind::kCorrupt, EINVAL,
                ErrorData{.code = "luks-key-slot-state-invalid",
                          .field = "active",
                          .value = raw.active,
                          .index = index},
                fmt::format("active of key slot {} is {:#x}, neither {:#x} nor {:#x}", index,
                            uint32_t{raw.active}, kKeyActive, kKeyDisabled));
  }
  return {raw.active == kKeyActive, raw.iterations, raw.key_material_offset * kSectorSize,
          raw.stripes};
}

}  // namespace

LuksHeader LuksHeader::parse(ConstBytes bytes) {
  BYRE_ASSERT(bytes.size() >= kSize);
  RawLuksHeader raw;
  std::memcpy(&raw, bytes.data(), sizeof raw);
  if (!std::equal(kMagic, kMagic + sizeof kMagic, raw.magic)) {
    throw Error(ErrorKind::kCorrupt, EINVAL,
                ErrorData{.code = "luks-magic-wrong", .field = "magic"},
                "magic is not that of LUKS");
  }
  if (raw.version != kVersion) {
    throw Error(
        ErrorKind::kUnsupported, ENOTSUP,
        ErrorData{.code = "luks-version-unknown",
                  .field = "version",
                  .value = raw.version,
                  .bound = kVersion},
        fmt::format("version is {}; only {} is supported", uint16_t{raw.version}, kVersion));
  }
  LuksHeader header;
  header.cipher = text_field(raw.cipher_name, "cipher name");
  header.hash = text_field(raw.hash_spec, "hash spec");
  header.uuid = text_field(raw.uuid, "uuid");
  parse_mode(text_field(raw.cipher_mode, "cipher mode"), header);
  if (raw.key_bytes > kKeyBytesMax) {
    throw Error(ErrorKind::kUnsupported, ENOTSUP,
                ErrorData{.code = "luks-key-too-long",
                          .field = "key bytes",
                          .value = raw.key_bytes,
                          .bound = kKeyBytesMax},
                fmt::format("the key has {} bytes; at most {} are supported",
                            uint32_t{raw.key_bytes}, kKeyBytesMax));
  }
  header.key_bits = raw.key_bytes * 8;
  if (header.cipher_mode == "xts") header.key_bits /= 2;
  header.payload_offset = raw.payload_offset * kSectorSize;
  header.master_key_iterations = raw.master_key_iterations;
  for (size_t i = 0; i < kKeySlots; ++i) header.key_slots[i] = parse_slot(raw.key_slots[i], i);
  return header;
}

}  // namespace byre::codec
