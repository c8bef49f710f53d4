// SPDX-License-Identifier: Apache-2.0
#include "open/creation_options.h"

#include <gtest/gtest.h>

#include "byre/error.h"
#include "open/driver.h"
#include "open/image_creation.h"
#include "open/option_list.h"
#include "open/qcow2_creation.h"

namespace byre::open {
namespace {

CreationOptions with(const std::string& format, std::string_view text) {
  CreationOptions options(format);
  while (!text.empty()) {
    const size_t equals = text.find('=');
    const std::string name(text.substr(0, equals));
    text.remove_prefix(equals + 1);
    options.apply({{name, take_option_value(text)}});
  }
  return options;
}

template <class F>
std::string refusal(F function) {
  try {
    function();
  } catch (const Error& error) {
    return error.message();
  }
  return "accepted";
}

std::string refusal_of(const std::string& format, const std::string& text) {
  return refusal([&] {
    const CreationOptions options = with(format, text);
    options.driver().creation->validate(options);
  });
}

TEST(CreationOptions, AFormatThatByreDoesNotWriteIsUnknown) {
  EXPECT_EQ(refusal([] { CreationOptions("foo"); }), "Unknown file format 'foo'");
}

TEST(CreationOptions, DefaultsAreShownInQemusOrder) {
  CreationOptions options("qcow2");
  options.set_size(1048576);
  EXPECT_EQ(options.to_text(),
            "cluster_size=65536 extended_l2=off compression_type=zlib size=1048576 "
            "lazy_refcounts=off refcount_bits=16");
}

TEST(CreationOptions, EveryOptionHasItsPlaceInTheLine) {
  const CreationOptions options =
      with("qcow2",
           "extent_size_hint=0,nocow=off,size=1M,refcount_bits=16,preallocation=off,"
           "lazy_refcounts=off,extended_l2=off,data_file_raw=off,data_file=d,backing_fmt=qcow2,"
           "backing_file=b,compression_type=zlib,compat=1.1,cluster_size=64k");
  EXPECT_EQ(options.to_text(),
            "cluster_size=65536 extended_l2=off preallocation=off compression_type=zlib "
            "size=1048576 compat=1.1 backing_file=b backing_fmt=qcow2 data_file=d "
            "data_file_raw=off lazy_refcounts=off refcount_bits=16 nocow=off extent_size_hint=0");
}

TEST(CreationOptions, RawHasTheOptionsOfItsFile) {
  EXPECT_EQ(with("raw", "extent_size_hint=1M,preallocation=off,nocow=on,size=1k").to_text(),
            "size=1024 nocow=on preallocation=off extent_size_hint=1048576");
  EXPECT_EQ(refusal_of("raw", "cluster_size=4k"), "Invalid parameter 'cluster_size'");
}

TEST(CreationOptions, ValuesAreShownAsTheyWereWrittenNumbersAsNumbers) {
  EXPECT_EQ(
      with("qcow2", "lazy_refcounts=yes,refcount_bits=0x10,data_file=a,,b,size=1.5k").to_text(),
      "cluster_size=65536 extended_l2=off compression_type=zlib size=1536 data_file=a,,b "
      "lazy_refcounts=yes refcount_bits=16");
  EXPECT_NE(with("qcow2", "refcount_bits=-16").to_text().find("refcount_bits=-16"),
            std::string::npos);
}

TEST(CreationOptions, ValuesOfTheWrongKindAreRefusedInQemusWords) {
  const std::string no_size =
      " expects a non-negative number below 2^64\n"
      "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\n"
      "and exabytes, respectively.";
  EXPECT_EQ(refusal_of("qcow2", "cluster_size=foo"), "Parameter 'cluster_size'" + no_size);
  EXPECT_EQ(refusal_of("raw", "size=off"), "Parameter 'size'" + no_size);
  EXPECT_EQ(refusal_of("raw", "size=-1"), "Value '-1' is out of range for parameter 'size'");
  EXPECT_EQ(refusal_of("qcow2", "lazy_refcounts=maybe"),
            "Parameter 'lazy_refcounts' expects 'on' or 'off'");
  EXPECT_EQ(refusal_of("qcow2", "lazy_refcounts=ON"),
            "Parameter 'lazy_refcounts' expects 'on' or 'off'");
  EXPECT_EQ(refusal_of("qcow2", "refcount_bits=1k"), "Parameter 'refcount_bits' expects a number");
  EXPECT_EQ(refusal_of("qcow2", "refcount_bits=99999999999999999999"),
            "Value '99999999999999999999' is too large for parameter 'refcount_bits'");
  EXPECT_EQ(refusal_of("qcow2", "foo=bar"), "Invalid parameter 'foo'");
}

TEST(CreationOptions, ChoicesThatThereAreNotAreRefusedInQemusWords) {
  EXPECT_EQ(refusal_of("qcow2", "compat=0.9"), "Parameter 'version' does not accept value '0.9'");
  EXPECT_EQ(refusal_of("qcow2", "compression_type=lz4"),
            "Parameter 'compression-type' does not accept value 'lz4'");
  EXPECT_EQ(refusal_of("qcow2", "preallocation=foo"),
            "Parameter 'preallocation' does not accept value 'foo'");
  EXPECT_EQ(refusal_of("raw", "preallocation=foo"), "invalid parameter value: foo");
  EXPECT_EQ(refusal_of("qcow2", "backing_fmt=foo,backing_file=b"),
            "Parameter 'backing-fmt' does not accept value 'foo'");
}

TEST(CreationOptions, EncryptionIsRefusedByName) {
  EXPECT_EQ(refusal_of("qcow2", "encryption=on"), "byre does not support encryption yet");
  EXPECT_EQ(refusal_of("qcow2", "encrypt.format=luks"), "byre does not support encryption yet");
  EXPECT_EQ(refusal_of("qcow2", "encryption=off"), "accepted");
}

TEST(CreationOptions, WhatWasSaidReachesTheNewImage) {
  const CreationOptions said =
      with("qcow2",
           "size=3M,cluster_size=4k,compat=v2,refcount_bits=8,lazy_refcounts=on,extended_l2=on,"
           "compression_type=zstd,preallocation=falloc,backing_file=b,backing_fmt=raw,data_file=d,"
           "data_file_raw=on,nocow=on,extent_size_hint=2M");
  const qcow2::CreateOptions options = qcow2_create_options(said);
  EXPECT_EQ(said.format(), "qcow2");
  EXPECT_EQ(options.size, 3u << 20);
  EXPECT_EQ(options.cluster_size, 4096u);
  EXPECT_EQ(options.version, 2);
  EXPECT_EQ(options.refcount_bits, 8u);
  EXPECT_TRUE(options.lazy_refcounts);
  EXPECT_TRUE(options.extended_l2);
  EXPECT_EQ(options.compression_type, CompressionType::kZstd);
  EXPECT_EQ(options.preallocation, Preallocation::kFalloc);
  EXPECT_EQ(options.backing_filename, "b");
  EXPECT_EQ(options.backing_format, "raw");
  EXPECT_EQ(options.data_filename, "d");
  EXPECT_TRUE(options.data_file_raw);
  EXPECT_TRUE(said.is_on("nocow"));
  EXPECT_EQ(said.number("extent_size_hint"), uint64_t{2} << 20);
}

TEST(CreationOptions, ALaterValueReplacesAnEarlierOne) {
  EXPECT_EQ(with("raw", "size=1M,size=2M").size(), 2u << 20);
}

}  // namespace
}  // namespace byre::open
