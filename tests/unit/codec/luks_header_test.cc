// SPDX-License-Identifier: Apache-2.0
#include "codec/luks_header.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "byre/error.h"

namespace byre::codec {
namespace {

void put_text(std::vector<uint8_t>& bytes, size_t offset, const char* text) {
  std::memcpy(&bytes[offset], text, std::strlen(text) + 1);
}

void put_word(std::vector<uint8_t>& bytes, size_t offset, uint32_t value) {
  store_big_endian(&bytes[offset], value);
}

std::vector<uint8_t> sound_header() {
  std::vector<uint8_t> bytes(LuksHeader::kSize);
  std::memcpy(bytes.data(), "LUKS\xba\xbe\0\1", 8);
  put_text(bytes, 8, "aes");
  put_text(bytes, 40, "xts-plain64");
  put_text(bytes, 72, "sha256");
  put_word(bytes, 104, 4040);
  put_word(bytes, 108, 64);
  put_word(bytes, 164, 12351);
  put_text(bytes, 168, "e24f4ad5-59c4-443a-9c72-5732ee6201c0");
  for (size_t slot = 0; slot < LuksHeader::kKeySlots; ++slot) {
    const size_t at = 208 + 48 * slot;
    put_word(bytes, at, slot == 0 ? 0x00ac71f3 : 0x0000dead);
    put_word(bytes, at + 4, slot == 0 ? 49349 : 0);
    put_word(bytes, at + 40, static_cast<uint32_t>(8 + 504 * slot));
    put_word(bytes, at + 44, 4000);
  }
  return bytes;
}

std::string refusal(const std::vector<uint8_t>& bytes) {
  try {
    LuksHeader::parse(bytes);
  } catch (const Error& error) {
    return error.message();
  }
  return "accepted";
}

TEST(LuksHeader, TellsAlgorithmsOffsetsAndKeySlots) {
  const LuksHeader header = LuksHeader::parse(sound_header());
  EXPECT_EQ(header.cipher, "aes");
  EXPECT_EQ(header.key_bits, 256u);  // two keys of 256 bits for XTS
  EXPECT_EQ(header.cipher_mode, "xts");
  EXPECT_EQ(header.iv_generator, "plain64");
  EXPECT_EQ(header.iv_hash, "");
  EXPECT_EQ(header.hash, "sha256");
  EXPECT_EQ(header.payload_offset, 2068480u);
  EXPECT_EQ(header.master_key_iterations, 12351u);
  EXPECT_EQ(header.uuid, "e24f4ad5-59c4-443a-9c72-5732ee6201c0");
  EXPECT_TRUE(header.key_slots[0].is_active);
  EXPECT_EQ(header.key_slots[0].iterations, 49349u);
  EXPECT_EQ(header.key_slots[0].key_offset, 4096u);
  EXPECT_EQ(header.key_slots[0].stripes, 4000u);
  EXPECT_FALSE(header.key_slots[7].is_active);
  EXPECT_EQ(header.key_slots[7].key_offset, 1810432u);
}

TEST(LuksHeader, AnIvGeneratorMayHaveAHash) {
  std::vector<uint8_t> bytes = sound_header();
  put_text(bytes, 40, "cbc-essiv:sha256");
  put_word(bytes, 108, 16);
  const LuksHeader header = LuksHeader::parse(bytes);
  EXPECT_EQ(header.cipher_mode, "cbc");
  EXPECT_EQ(header.iv_generator, "essiv");
  EXPECT_EQ(header.iv_hash, "sha256");
  EXPECT_EQ(header.key_bits, 128u);
}

TEST(LuksHeader, DamageIsNamed) {
  std::vector<uint8_t> bytes = sound_header();
  bytes[0] = 'X';
  EXPECT_EQ(refusal(bytes), "magic is not that of LUKS");
  bytes = sound_header();
  bytes[7] = 2;
  EXPECT_EQ(refusal(bytes), "version is 2; only 1 is supported");
  bytes = sound_header();
  std::memset(&bytes[8], 'a', 32);
  EXPECT_EQ(refusal(bytes), "the cipher name has no zero within its 32 bytes");
  bytes = sound_header();
  put_text(bytes, 40, "xts");
  EXPECT_EQ(refusal(bytes), "the cipher mode is 'xts', not a mode, a dash and an IV generator");
  bytes = sound_header();
  put_word(bytes, 108, 65);
  EXPECT_EQ(refusal(bytes), "the key has 65 bytes; at most 64 are supported");
  bytes = sound_header();
  put_word(bytes, 208, 1);
  EXPECT_EQ(refusal(bytes), "active of key slot 0 is 0x1, neither 0xac71f3 nor 0xdead");
}

}  // namespace
}  // namespace byre::codec
