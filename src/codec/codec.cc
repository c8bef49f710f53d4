// SPDX-License-Identifier: Apache-2.0
#include "codec/codec.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "byre/error.h"
#include "codec/backends.h"
#include "codec/compressibility.h"
#include "codec/level.h"

namespace byre::codec {
namespace {

// Spends little time on bytes that look random: encrypted and compressed files fill many real
// disks.
class ScoutedCompressor final : public Compressor {
 public:
  explicit ScoutedCompressor(LevelParts parts) : parts_(std::move(parts)) {}

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    if (looks_random(in)) {
      const std::optional<size_t> size = parts_.scout->compress(in, out);
      if (!size.has_value()) return std::nullopt;
    }
    return parts_.main->compress(in, out);
  }

 private:
  LevelParts parts_;
};

// Some compressors produce several times as much output as necessary for a cluster of one repeated
// byte. Such clusters go to another compressor; those with almost no output, to both.
class FinishedCompressor final : public Compressor {
 public:
  FinishedCompressor(std::unique_ptr<Compressor> main, std::unique_ptr<Compressor> finisher)
      : main_(std::move(main)), finisher_(std::move(finisher)) {}

  std::optional<size_t> compress(ConstBytes in, Bytes out) override {
    if (is_one_byte(in)) {
      const std::optional<size_t> size = finisher_->compress(in, out);
      if (size) return size;
    }
    const std::optional<size_t> size = main_->compress(in, out);
    const size_t size_max = in.size() / kRatioMin;
    if (!size && out.size() <= size_max) return finisher_->compress(in, out);
    if (!size || *size > size_max) return size;
    scratch_.resize(*size);
    const std::optional<size_t> better = finisher_->compress(in, Bytes(scratch_));
    if (!better || *better >= *size) return size;
    std::copy_n(scratch_.begin(), *better, out.begin());
    return better;
  }

 private:
  static constexpr size_t kRatioMin = 128;

  static bool is_one_byte(ConstBytes in) {
    return in.size() > 1 && std::memcmp(in.data(), in.data() + 1, in.size() - 1) == 0;
  }

  std::unique_ptr<Compressor> main_;
  std::unique_ptr<Compressor> finisher_;
  std::vector<uint8_t> scratch_;
};

void check_supported(CompressionType type) {
  if (is_supported(type)) return;
  throw Error(
      ErrorKind::kUnsupported, ENOTSUP,
      ErrorData{
          .code = "codec-type-unsupported", .field = "compression_type", .text = name_of(type)},
      std::string("this build of byre does not include the library for the compression "
                  "type '") +
          name_of(type) + "'");
}

}  // namespace

const char* name_of(CompressionType type) {
  return type == CompressionType::kZstd ? "zstd" : "zlib";
}

bool is_supported(CompressionType type) {
  return type == CompressionType::kZlib || (type == CompressionType::kZstd && BYRE_WITH_ZSTD != 0);
}

std::unique_ptr<Compressor> Compressor::make(CompressionType type, int level) {
  if (level < kFastestLevel || level > kSmallestLevel) {
    throw Error(ErrorKind::kInvalidArgument, EINVAL,
                ErrorData{.code = "codec-level-wrong", .text = std::to_string(level)},
                "the compression level is " + std::to_string(level) + ", not between " +
                    std::to_string(kFastestLevel) + " and " + std::to_string(kSmallestLevel));
  }
  check_supported(type);
  LevelParts parts = parts_of(type, level);
  BYRE_ASSERT(parts.main != nullptr);
  if (parts.finisher != nullptr) {
    parts.main =
        std::make_unique<FinishedCompressor>(std::move(parts.main), std::move(parts.finisher));
  }
  if (parts.scout == nullptr) return std::move(parts.main);
  return std::make_unique<ScoutedCompressor>(std::move(parts));
}

std::unique_ptr<Decompressor> Decompressor::make(CompressionType type) {
  check_supported(type);
#if BYRE_WITH_ZSTD
  if (type == CompressionType::kZstd) return make_zstd_decompressor();
#endif
  return make_deflate_decompressor();
}

}  // namespace byre::codec
