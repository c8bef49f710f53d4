// SPDX-License-Identifier: Apache-2.0
// What is refused is what qemu-img 10.0.2 refuses, in its order.
#include "qcow2/layout/extensions.h"

#include <gtest/gtest.h>

#include "golden_bytes.h"
#include "samples.h"

namespace byre::qcow2::layout {
namespace {

using Data = std::vector<uint8_t>;

// The bytes of one extension, optionally with a wrong length.
Data extension(uint32_t type, const Data& data, std::optional<uint32_t> length = {}) {
  Data bytes(8 + align_up(data.size(), 8));
  store_big_endian(bytes.data(), type);
  store_big_endian(bytes.data() + 4, length.value_or(static_cast<uint32_t>(data.size())));
  std::copy(data.begin(), data.end(), bytes.begin() + 8);
  return bytes;
}

Data text(const std::string& text) {
  return {text.begin(), text.end()};
}

Data numbers(std::initializer_list<uint64_t> values) {
  Data data(values.size() * 8);
  uint8_t* to = data.data();
  for (const uint64_t value : values) store_big_endian(to, value), to += 8;
  return data;
}

Data bitmaps(uint32_t count = 1, uint32_t reserved = 0, uint64_t size = 32,
             uint64_t offset = 0x50000) {
  return numbers({uint64_t{count} << 32 | reserved, size, offset});
}

// The first cluster of an image with that header and these extensions' bytes.
Data cluster_with(const Header& header, const std::vector<Data>& extensions) {
  Data bytes = header.encode();
  for (const Data& extension : extensions)
    bytes.insert(bytes.end(), extension.begin(), extension.end());
  bytes.resize(header.cluster_size());
  return bytes;
}

Extensions parse(const Header& header, const std::vector<Data>& extensions) {
  return Extensions::parse(cluster_with(header, extensions), header);
}

Refusal parse_refusal(const Header& header, const std::vector<Data>& extensions) {
  return refusal([&] { parse(header, extensions); });
}

Header with_bitmaps() {
  Header header = sample_header();
  header.autoclear_features = autoclear::kBitmaps;
  return header;
}

Header with_luks() {
  Header header = sample_header();
  header.crypt_method = CryptMethod::kLuks;
  return header;
}

TEST(Extensions, ThereMayBeNone) {
  EXPECT_EQ(parse(sample_header(), {}), Extensions());
  EXPECT_EQ(parse(sample_header(2), {}), Extensions());
  Header full = sample_header();
  full.header_length = 65536;
  full.additional_fields.resize(65536 - 105);
  EXPECT_EQ(parse(full, {}), Extensions());
}

TEST(Extensions, StringsAreNotTerminatedAndTheirLengthIsTheExtensions) {
  const Extensions extensions =
      parse(sample_header(), {extension(extension_type::kBackingFormat, text("qcow2")),
                              extension(extension_type::kDataFile, text("data.raw"))});
  EXPECT_EQ(extensions.backing_format, "qcow2");
  EXPECT_EQ(extensions.data_file_name, "data.raw");
  // Padding, whatever its contents, is not part of the string.
  auto padded = extension(extension_type::kDataFile, text("d.x"));
  std::fill(padded.begin() + 11, padded.end(), 0xee);
  EXPECT_EQ(parse(sample_header(), {padded}).data_file_name, "d.x");
}

TEST(Extensions, StringsEndAtAZeroByte) {
  const auto with = [](uint32_t type, const std::string& value) {
    return parse(sample_header(), {extension(type, text(value))});
  };
  EXPECT_EQ(with(extension_type::kDataFile, std::string("d\0x", 3)).data_file_name, "d");
  EXPECT_EQ(with(extension_type::kDataFile, std::string("\0x", 2)).data_file_name, "");
  EXPECT_EQ(with(extension_type::kBackingFormat, std::string("raw\0x", 5)).backing_format, "raw");
}

TEST(Extensions, UnknownOnesAreKeptInOrder) {
  const Extensions extensions =
      parse(sample_header(), {extension(0x11111111, {1, 2, 3}),
                              extension(extension_type::kBackingFormat, text("raw")),
                              extension(0x22222222, {}), extension(0x11111111, {4})});
  const std::vector<UnknownExtension> expected = {
      {0x11111111, {1, 2, 3}}, {0x22222222, {}}, {0x11111111, {4}}};
  EXPECT_EQ(extensions.unknown, expected);
  EXPECT_EQ(parse(sample_header(), {extensions.encode()}), extensions);
}

TEST(Extensions, NothingIsReadPastTheEndMarker) {
  EXPECT_EQ(parse(sample_header(), {extension(0, {}), extension(5, {1})}), Extensions());
  // The end marker may have a length, which must still be inside the cluster.
  EXPECT_EQ(parse(sample_header(), {extension(0, Data(16)), extension(5, {1})}), Extensions());
  EXPECT_EQ(parse_refusal(sample_header(), {extension(0, {}, 0xffffffff)}),
            "qcow2-extension-too-large");
}

TEST(Extensions, LengthsThatLeaveTheFirstClusterAreRefused) {
  const uint32_t room = 65536 - 112 - 8;
  EXPECT_EQ(parse_refusal(sample_header(), {extension(5, {}, room)}), "");
  EXPECT_EQ(parse_refusal(sample_header(), {extension(5, {}, room - 7)}), "");
  EXPECT_EQ(parse_refusal(sample_header(), {extension(5, {}, room + 1)}),
            "qcow2-extension-too-large");
  EXPECT_EQ(parse_refusal(sample_header(), {extension(5, {}, 0xffffffff)}),
            "qcow2-extension-too-large");
}

// Offsets at which qemu-img accepts or refuses the same bytes.
TEST(Extensions, TheBackingFileNameEndsTheirArea) {
  const auto with_name_at = [](uint64_t offset, size_t length) {
    Header header = sample_header();
    header.backing_file_offset = offset;
    return parse_refusal(header, {extension(5, Data(length))});
  };
  for (const uint64_t offset : {8, 72, 112, 128, 136})
    EXPECT_EQ(with_name_at(offset, 8), "") << offset;
  for (const uint64_t offset : {116, 119, 120, 124}) {
    EXPECT_EQ(with_name_at(offset, 8), "qcow2-extension-too-large") << offset;
  }
  // Before the name, the last padding may be missing.
  for (const uint64_t offset : {121, 127, 128}) EXPECT_EQ(with_name_at(offset, 1), "") << offset;
  for (const uint64_t offset : {119, 120, 129}) {
    EXPECT_EQ(with_name_at(offset, 1), "qcow2-extension-too-large") << offset;
  }
}

TEST(Extensions, ASecondOneOfAKnownTypeReplacesTheFirst) {
  const Extensions extensions =
      parse(sample_header(), {extension(extension_type::kDataFile, text("first")),
                              extension(extension_type::kDataFile, text("second"))});
  EXPECT_EQ(extensions.data_file_name, "second");
}

TEST(Extensions, ABackingFormatHasAtMost15Bytes) {
  const auto of_length = [](size_t length) {
    return parse_refusal(sample_header(),
                         {extension(extension_type::kBackingFormat, Data(length, 'r'))});
  };
  EXPECT_EQ(of_length(0), "");
  EXPECT_EQ(of_length(15), "");
  for (const size_t length : {16u, 1023u}) {
    EXPECT_EQ(of_length(length), "qcow2-backing-format-too-long");
    EXPECT_EQ(of_length(length).data.value, length);
    EXPECT_EQ(of_length(length).data.bound, 15);
  }
}

TEST(Extensions, BitmapsAreReadIfTheirAutoclearBitIsSet) {
  const Extensions extensions =
      parse(with_bitmaps(), {extension(extension_type::kBitmaps, bitmaps(2, 0, 64))});
  const BitmapsExtension expected{2, 64, HostOffset(0x50000)};
  EXPECT_EQ(extensions.bitmaps, expected);
  EXPECT_FALSE(extensions.stale_bitmaps);
}

TEST(Extensions, BitmapsWithoutTheirAutoclearBitAreStale) {
  for (const uint32_t version : {2u, 3u}) {
    const Header header = sample_header(version);
    const Extensions extensions =
        parse(header, {extension(extension_type::kBitmaps, bitmaps(0, 1, 0, 1))});
    EXPECT_EQ(extensions.bitmaps, std::nullopt);
    EXPECT_TRUE(extensions.stale_bitmaps);
    EXPECT_EQ(stale_bitmaps_problem(header).data().code,
              version == 2 ? "qcow2-bitmaps-in-version-2" : "qcow2-bitmaps-stale");
  }
  EXPECT_EQ(parse_refusal(sample_header(), {extension(extension_type::kBitmaps, {1, 2, 3, 4})}),
            "qcow2-bitmaps-extension-size-wrong");
}

TEST(Extensions, BitmapsThatBreakARuleAreRefused) {
  const auto with = [](const Data& data) {
    return parse_refusal(with_bitmaps(), {extension(extension_type::kBitmaps, data)});
  };
  EXPECT_EQ(with(Data(16)), "qcow2-bitmaps-extension-size-wrong");
  EXPECT_EQ(with(Data(32)), "qcow2-bitmaps-extension-size-wrong");
  EXPECT_EQ(with(bitmaps(0)), "qcow2-bitmaps-none");
  const Refusal too_many = with(bitmaps(65536));
  EXPECT_EQ(too_many, "qcow2-bitmaps-too-many");
  EXPECT_EQ(too_many.data.value, 65536);
  EXPECT_EQ(too_many.data.bound, 65535);
  EXPECT_EQ(with(bitmaps(65535)), "");
  EXPECT_EQ(with(bitmaps(0, 1, 0, 1)), "qcow2-bitmaps-reserved-not-zero");
  EXPECT_EQ(with(bitmaps(1, 0, uint64_t{1} << 40, 1)), "qcow2-bitmap-directory-offset-invalid");
  const Refusal too_large = with(bitmaps(1, 0, 67107841));
  EXPECT_EQ(too_large, "qcow2-bitmap-directory-too-large");
  EXPECT_EQ(too_large.data.value, 67107841);
  EXPECT_EQ(too_large.data.bound, 67107840);
  EXPECT_EQ(with(bitmaps(1, 0, 67107840)), "");
  EXPECT_EQ(with(bitmaps(0, 0, uint64_t{1} << 40, 1)), "qcow2-bitmaps-none");
}

TEST(Extensions, ACryptoHeaderBelongsToLuksAndLuksNeedsIt) {
  const Data pointer = numbers({0x60000, 4096});
  const Extensions extensions =
      parse(with_luks(), {extension(extension_type::kCryptoHeader, pointer)});
  const CryptoHeader expected{HostOffset(0x60000), 4096};
  EXPECT_EQ(extensions.crypto_header, expected);
  EXPECT_EQ(parse_refusal(with_luks(), {}), "qcow2-crypto-header-missing");
  EXPECT_EQ(parse_refusal(with_luks(), {}).data.value, 2);
  Header aes = sample_header();
  aes.crypt_method = CryptMethod::kAes;
  EXPECT_EQ(parse_refusal(aes, {}), "");
  for (const Header& header : {sample_header(), aes}) {
    EXPECT_EQ(parse_refusal(header, {extension(extension_type::kCryptoHeader, Data(32))}),
              "qcow2-crypto-header-unexpected");
  }
  const Refusal short_header =
      parse_refusal(with_luks(), {extension(extension_type::kCryptoHeader, Data(8))});
  EXPECT_EQ(short_header, "qcow2-crypto-header-size-wrong");
  EXPECT_EQ(short_header.data.value, 8);
  EXPECT_EQ(short_header.data.bound, 16);
  const Refusal unaligned =
      parse_refusal(with_luks(), {extension(extension_type::kCryptoHeader, numbers({1, 4096}))});
  EXPECT_EQ(unaligned, "qcow2-crypto-header-offset-invalid");
  EXPECT_EQ(unaligned.data.value, 1);
  EXPECT_EQ(unaligned.data.bound, 65536);
}

TEST(Extensions, FeatureNamesAreReadAsFarAsTheExtensionsCanBeRead) {
  const Data table = encode_feature_names({{0, 5, "five"}});
  const auto names = [](const std::vector<Data>& extensions) {
    const Header header = sample_header();
    return readable_feature_names(cluster_with(header, extensions), header);
  };
  const std::vector<FeatureName> five = {{0, 5, "five"}};
  EXPECT_EQ(names({extension(extension_type::kFeatureNames, table)}), five);
  EXPECT_EQ(names({extension(extension_type::kFeatureNames, table), extension(5, {}, 0xffffffff)}),
            five);
  EXPECT_TRUE(names({extension(extension_type::kBackingFormat, Data(16)),
                     extension(extension_type::kFeatureNames, table)})
                  .empty());
  EXPECT_TRUE(names({}).empty());
}

TEST(Extensions, EveryOneComesBack) {
  Header header = with_luks();
  header.autoclear_features = autoclear::kBitmaps;
  Extensions extensions;
  extensions.backing_format = "qcow2";
  extensions.data_file_name = "data";
  extensions.crypto_header = CryptoHeader{HostOffset(0x30000), 77};
  extensions.feature_names = known_feature_names();
  extensions.bitmaps = BitmapsExtension{3, 96, HostOffset(0x40000)};
  extensions.unknown = {{7, {1, 2, 3, 4, 5, 6, 7, 8, 9}}};
  const Data encoded = extensions.encode();
  EXPECT_EQ(encoded.size() % 8, 0u);
  EXPECT_EQ(parse(header, {encoded}), extensions);
}

}  // namespace
}  // namespace byre::qcow2::layout
