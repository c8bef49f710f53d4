// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/bytes.h"

namespace byre::codec {

// The header of LUKS version 1 (LUKS On-Disk Format Specification 1.2.3, "LUKS phdr"), as far as it
// can be read without a key: what protects the data, and where the key material is. Decoding a
// header unlocks nothing.
struct LuksHeader {
  struct KeySlot {
    bool is_active = false;
    uint32_t iterations = 0;
    uint64_t key_offset = 0;  // bytes, from the start of the header
    uint32_t stripes = 0;
  };

  static constexpr size_t kSize = 592;
  static constexpr size_t kKeySlots = 8;

  std::string cipher;           // "aes"
  uint32_t key_bits = 0;        // of the cipher: half of the master key where the mode is xts
  std::string cipher_mode;      // "xts"
  std::string iv_generator;     // "plain64"
  std::string iv_hash;          // "sha256", or empty
  std::string hash;             // of the key derivation
  uint64_t payload_offset = 0;  // bytes
  uint32_t master_key_iterations = 0;
  std::string uuid;
  std::array<KeySlot, kKeySlots> key_slots;

  // REQUIRES: `bytes` has kSize bytes.
  // Throws Error(kCorrupt or kUnsupported).
  static LuksHeader parse(ConstBytes bytes);
};

}  // namespace byre::codec
