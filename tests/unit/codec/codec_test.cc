// SPDX-License-Identifier: Apache-2.0
#include "codec/codec.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "byre/error.h"
#include "codec/backends.h"
#include "codec/compressibility.h"

#if BYRE_WITH_ZSTD
#include <zstd.h>
#endif

namespace byre::codec {
namespace {

using Data = std::vector<uint8_t>;

std::vector<CompressionType> supported_types() {
  std::vector<CompressionType> types{CompressionType::kZlib};
  if (is_supported(CompressionType::kZstd)) types.push_back(CompressionType::kZstd);
  return types;
}

Data random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  Data data(size);
  for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
  return data;
}

// Random words from a small dictionary: compresses to about a quarter, with distant matches.
Data text_like(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  const Data words = random_bytes(16 * 512, seed + 1);
  Data data;
  while (data.size() < size) {
    const size_t word = random() % 512;
    data.insert(data.end(), words.begin() + static_cast<ptrdiff_t>(word * 16),
                words.begin() + static_cast<ptrdiff_t>(word * 16 + 3 + random() % 13));
  }
  data.resize(size);
  return data;
}

Data compressed(CompressionType type, int level, const Data& data) {
  Data out(data.size());
  const auto size = Compressor::make(type, level)->compress(data, out);
  EXPECT_TRUE(size.has_value());
  out.resize(size.value_or(0));
  return out;
}

std::optional<ErrorKind> failure_of(CompressionType type, const Data& in, size_t out_size) {
  Data out(out_size);
  try {
    Decompressor::make(type)->decompress(in, out);
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

TEST(Codec, EveryLevelOfEveryTypeGivesTheBytesBackAtEveryClusterSize) {
  for (const CompressionType type : supported_types()) {
    const auto decompressor = Decompressor::make(type);
    for (int level = kFastestLevel; level <= kSmallestLevel; ++level) {
      const auto compressor = Compressor::make(type, level);
      for (size_t size = 512; size <= (size_t{2} << 20); size *= 4) {
        const Data data = text_like(size, size + static_cast<size_t>(level));
        Data out(size - 1);
        const auto out_size = compressor->compress(data, out);
        if (size >= 2048) ASSERT_TRUE(out_size.has_value()) << level << " " << size;
        if (!out_size.has_value()) continue;
        Data back(size);
        decompressor->decompress(ConstBytes(out).first(*out_size), back);
        EXPECT_EQ(back, data) << name_of(type) << " level " << level << " size " << size;
      }
    }
  }
}

TEST(Codec, ACompressorThatFailedForLackOfSpaceWorksOnTheNextCluster) {
  const Data random = random_bytes(65536, 1);
  const Data text = text_like(65536, 2);
  for (const CompressionType type : supported_types()) {
    for (int level = kFastestLevel; level <= kSmallestLevel; ++level) {
      const auto compressor = Compressor::make(type, level);
      Data out(65535);
      EXPECT_FALSE(compressor->compress(random, out).has_value()) << level;
      EXPECT_FALSE(compressor->compress(text, Bytes(out).first(100)).has_value()) << level;
      EXPECT_FALSE(compressor->compress(text, Bytes(out).first(0)).has_value()) << level;
      const auto size = compressor->compress(text, out);
      ASSERT_TRUE(size.has_value()) << level;
      Data back(65536);
      Decompressor::make(type)->decompress(ConstBytes(out).first(*size), back);
      EXPECT_EQ(back, text) << level;
    }
  }
}

TEST(Codec, TheResultFitsExactlyWhereTheSpaceIsExactlyItsSize) {
  const Data text = text_like(65536, 3);
  for (const CompressionType type : supported_types()) {
    // ISA-L and zstd may need a few bytes of slack; they must never write past the end.
    const Data once = compressed(type, kDefaultLevel, text);
    Data out(once.size() + 1, 0xee);
    const auto size =
        Compressor::make(type, kDefaultLevel)->compress(text, Bytes(out).first(once.size()));
    if (size.has_value()) EXPECT_EQ(*size, once.size());
    EXPECT_EQ(out.back(), 0xee);
  }
}

TEST(Codec, AClusterOfOneByteBecomesAsSmallAsWithZlib) {
  for (const uint8_t byte : {0, 1, 0x55, 0xff}) {
    const Data data(65536, byte);
    Data out(data.size());
    const std::optional<size_t> zlib = make_zlib_compressor(6)->compress(data, out);
    ASSERT_TRUE(zlib.has_value());
    for (int level = kFastestLevel; level <= kSmallestLevel; ++level) {
      const Data ours = compressed(CompressionType::kZlib, level, data);
      EXPECT_LE(ours.size(), *zlib) << "level " << level;
      Data back(data.size());
      Decompressor::make(CompressionType::kZlib)->decompress(ours, back);
      EXPECT_EQ(back, data);
    }
  }
}

TEST(Codec, AClusterOfAShortPatternComesBack) {
  for (const size_t size : {size_t{4096}, size_t{65536}, size_t{2} << 20}) {
    for (const size_t period : {2, 17, 512}) {
      const Data pattern = random_bytes(period, 3);
      Data data(size);
      for (size_t i = 0; i < size; ++i) data[i] = pattern[i % period];
      for (int level = kFastestLevel; level <= 4; ++level) {
        Data back(size);
        Decompressor::make(CompressionType::kZlib)
            ->decompress(compressed(CompressionType::kZlib, level, data), back);
        EXPECT_EQ(back, data) << size << " " << period << " level " << level;
      }
    }
  }
}

TEST(Codec, ACompressorThatHasBeenUsedGivesWhatANewOneGives) {
  const std::vector<Data> clusters{text_like(65536, 1), Data(65536, 0x55),  random_bytes(65536, 2),
                                   text_like(65536, 3), text_like(4096, 4), text_like(65536, 1)};
  for (const CompressionType type : supported_types()) {
    for (int level = kFastestLevel; level <= kSmallestLevel; ++level) {
      const std::unique_ptr<Compressor> used = Compressor::make(type, level);
      for (const Data& cluster : clusters) {
        Data mine(cluster.size());
        Data fresh(cluster.size());
        const std::optional<size_t> size = used->compress(cluster, mine);
        EXPECT_EQ(size, Compressor::make(type, level)->compress(cluster, fresh));
        mine.resize(size.value_or(0));
        fresh.resize(size.value_or(0));
        EXPECT_EQ(mine, fresh) << name_of(type) << " level " << level;
      }
    }
  }
}

TEST(Codec, RandomBytesThatRepeatAreStillCompressed) {
  Data data = random_bytes(20000, 4);
  const Data again(data.begin(), data.begin() + 12768);
  data.insert(data.end(), again.begin(), again.end());
  ASSERT_TRUE(looks_random(data));
  for (const CompressionType type : supported_types()) {
    for (int level = kDefaultLevel; level <= kSmallestLevel; ++level) {
      EXPECT_LT(compressed(type, level, data).size(), data.size() * 3 / 4)
          << name_of(type) << " level " << level;
    }
  }
}

TEST(Codec, HigherLevelsMakeTextNoLargerThanTheFastest) {
  const Data text = text_like(65536, 5);
  for (const CompressionType type : supported_types()) {
    EXPECT_LT(compressed(type, kSmallestLevel, text).size(),
              compressed(type, kFastestLevel, text).size());
  }
}

TEST(Codec, BytesBehindTheCompressedDataAreIgnored) {
  const Data text = text_like(65536, 6);
  for (const CompressionType type : supported_types()) {
    for (const uint8_t filler : {0x00, 0x28, 0xff}) {
      Data in = compressed(type, kDefaultLevel, text);
      in.insert(in.end(), 511, filler);
      Data back(text.size());
      Decompressor::make(type)->decompress(in, back);
      EXPECT_EQ(back, text);
    }
  }
}

TEST(Codec, DataThatEndsTooEarlyIsCorrupt) {
  const Data text = text_like(65536, 7);
  for (const CompressionType type : supported_types()) {
    const Data whole = compressed(type, kDefaultLevel, text);
    for (const size_t size : {size_t{0}, size_t{1}, size_t{3}, whole.size() / 2}) {
      EXPECT_EQ(failure_of(type, Data(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)),
                           text.size()),
                ErrorKind::kCorrupt)
          << name_of(type) << " " << size;
    }
    EXPECT_EQ(failure_of(type, whole, text.size() + 1), ErrorKind::kCorrupt) << name_of(type);
  }
}

TEST(Codec, BytesThatAreNoCompressedDataAreCorrupt) {
  for (const CompressionType type : supported_types()) {
    EXPECT_EQ(failure_of(type, Data(512, 0xff), 65536), ErrorKind::kCorrupt) << name_of(type);
    EXPECT_EQ(failure_of(type, Data(512, 0x00), 65536), ErrorKind::kCorrupt) << name_of(type);
  }
}

TEST(Codec, ADecompressorThatMetDamageWorksOnTheNextCluster) {
  const Data text = text_like(65536, 8);
  for (const CompressionType type : supported_types()) {
    const auto decompressor = Decompressor::make(type);
    const Data in = compressed(type, kDefaultLevel, text);
    Data back(text.size());
    for (int turn = 0; turn < 3; ++turn) {
      EXPECT_THROW(decompressor->decompress(Data(512, 0xff), back), Error);
      decompressor->decompress(in, back);
      EXPECT_EQ(back, text);
    }
  }
}

Data zlib_deflate(const Data& data, int window_bits, int flush) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
  Data out(data.size() + 1024);
  stream.next_in = const_cast<uint8_t*>(data.data());
  stream.avail_in = static_cast<uInt>(data.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, flush);
  out.resize(out.size() - stream.avail_out);
  deflateEnd(&stream);
  return out;
}

TEST(Codec, DeflateStreamsOfEveryWindowSizeAreRead) {
  const Data text = text_like(262144, 9);
  for (int window_bits = -9; window_bits >= -15; --window_bits) {
    Data back(text.size());
    Decompressor::make(CompressionType::kZlib)
        ->decompress(zlib_deflate(text, window_bits, Z_FINISH), back);
    EXPECT_EQ(back, text) << window_bits;
  }
}

TEST(Codec, ADeflateStreamThatGoesOnWhenTheClusterIsFullIsRead) {
  // No end of stream at all, and a stream longer than the cluster.
  const Data text = text_like(65536, 10);
  Data back(65536);
  Decompressor::make(CompressionType::kZlib)
      ->decompress(zlib_deflate(text, -15, Z_SYNC_FLUSH), back);
  EXPECT_EQ(back, text);
  Data half(32768);
  Decompressor::make(CompressionType::kZlib)->decompress(zlib_deflate(text, -15, Z_FINISH), half);
  EXPECT_TRUE(std::equal(half.begin(), half.end(), text.begin()));
}

TEST(Codec, EveryLibraryBehindDeflateReadsBackAlone) {
  std::vector<std::unique_ptr<Compressor>> compressors;
  for (int level = 1; level <= 9; ++level) compressors.push_back(make_zlib_compressor(level));
#if BYRE_WITH_ISAL
  for (int level = 0; level <= 3; ++level) compressors.push_back(make_isal_compressor(level));
#endif
#if BYRE_WITH_LIBDEFLATE
  for (int level = 1; level <= 12; ++level) {
    compressors.push_back(make_libdeflate_compressor(level));
  }
#endif
  const Data text = text_like(131072, 11);
  for (size_t i = 0; i < compressors.size(); ++i) {
    Data out(text.size());
    const auto size = compressors[i]->compress(text, out);
    ASSERT_TRUE(size.has_value()) << i;
    Data back(text.size());
    Decompressor::make(CompressionType::kZlib)->decompress(ConstBytes(out).first(*size), back);
    EXPECT_EQ(back, text) << i;
  }
}

TEST(Codec, LevelsOffTheScaleAreRefused) {
  for (const CompressionType type : supported_types()) {
    for (const int level : {-1, 0, 10, 1000}) {
      try {
        Compressor::make(type, level);
        ADD_FAILURE() << level;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kInvalidArgument);
        EXPECT_EQ(error.data().code, "codec-level-wrong");
        EXPECT_EQ(error.data().code, "codec-level-wrong");
      }
    }
  }
}

#if BYRE_WITH_ZSTD

Data zstd_frame(const Data& data, bool with_size, bool with_checksum, int window_log) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size ? 1 : 0);
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, with_checksum ? 1 : 0);
  if (window_log != 0) ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  Data out(ZSTD_compressBound(data.size()));
  // As a stream, so that the frame may have an empty last block.
  ZSTD_inBuffer in{data.data(), data.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  EXPECT_FALSE(ZSTD_isError(ZSTD_compressStream2(context, &to, &in, ZSTD_e_flush)));
  EXPECT_EQ(ZSTD_compressStream2(context, &to, &in, ZSTD_e_end), 0u);
  out.resize(to.pos);
  ZSTD_freeCCtx(context);
  return out;
}

TEST(Codec, ZstdFramesWithAndWithoutSizeAndChecksumAreRead) {
  const Data text = text_like(65536, 12);
  for (const bool with_size : {false, true}) {
    for (const bool with_checksum : {false, true}) {
      Data in = zstd_frame(text, with_size, with_checksum, 0);
      in.resize((in.size() + 511) / 512 * 512, 0x5a);
      Data back(text.size());
      Decompressor::make(CompressionType::kZstd)->decompress(in, back);
      EXPECT_EQ(back, text);
    }
  }
}

TEST(Codec, AClusterOfSeveralZstdFramesIsRead) {
  const Data first = text_like(40000, 13);
  const Data second = text_like(25536, 14);
  Data in = zstd_frame(first, true, false, 0);
  const uint8_t skippable[] = {0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'c', 'o', 'w'};
  in.insert(in.end(), std::begin(skippable), std::end(skippable));
  const Data empty = zstd_frame({}, false, false, 0);
  in.insert(in.end(), empty.begin(), empty.end());
  const Data tail = zstd_frame(second, false, true, 0);
  in.insert(in.end(), tail.begin(), tail.end());
  Data back(65536);
  Decompressor::make(CompressionType::kZstd)->decompress(in, back);
  Data all = first;
  all.insert(all.end(), second.begin(), second.end());
  EXPECT_EQ(back, all);
}

TEST(Codec, AZstdFrameLargerThanTheClusterIsCorrupt) {
  const Data text = text_like(65536, 15);
  EXPECT_EQ(failure_of(CompressionType::kZstd, zstd_frame(text, true, false, 0), 65535),
            ErrorKind::kCorrupt);
  EXPECT_EQ(failure_of(CompressionType::kZstd, zstd_frame(text, false, false, 0), 65535),
            ErrorKind::kCorrupt);
}

TEST(Codec, AZstdFrameWithADamagedChecksumIsCorrupt) {
  Data in = zstd_frame(text_like(65536, 16), true, true, 0);
  in.back() ^= 1;
  EXPECT_EQ(failure_of(CompressionType::kZstd, in, 65536), ErrorKind::kCorrupt);
}

TEST(Codec, AZstdFrameOfAnOldDraftOfTheFormatIsCorrupt) {
  Data in = zstd_frame(text_like(65536, 17), true, false, 0);
  in[0] = 0x27;  // the format of version 0.7
  EXPECT_EQ(failure_of(CompressionType::kZstd, in, 65536), ErrorKind::kCorrupt);
}

#else

TEST(Codec, ZstdIsRefusedByNameWhereTheBuildLeavesItOut) {
  EXPECT_FALSE(is_supported(CompressionType::kZstd));
  try {
    Decompressor::make(CompressionType::kZstd);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
    EXPECT_EQ(error.data().code, "codec-type-unsupported");
    EXPECT_EQ(error.data().text, "zstd");
  }
  EXPECT_THROW(Compressor::make(CompressionType::kZstd, kDefaultLevel), Error);
}

#endif

}  // namespace
}  // namespace byre::codec
