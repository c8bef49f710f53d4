// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/units.h"
#include "byre/error.h"
#include "qcow2/create/create.h"

namespace byre::qcow2 {
namespace {

using Mistake = std::function<void(CreateOptions&)>;

std::string refusal(const std::vector<Mistake>& mistakes) {
  CreateOptions options;
  options.size = kMiB;
  for (const Mistake& mistake : mistakes) mistake(options);
  try {
    validate(options);
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

// Each is refused on its own; in the order in which QEMU finds them.
struct Rule {
  const char* message;
  Mistake mistake;
};

std::vector<Rule> rules() {
  return {
      {"Extended L2 entries are only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)",
       [](CreateOptions& o) { o.version = 2, o.extended_l2 = true; }},
      {"Cluster size must be a power of two between 512 and 2048k",
       [](CreateOptions& o) { o.cluster_size = 100; }},
      {"Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
       [](CreateOptions& o) { o.cluster_size = 8192, o.extended_l2 = true; }},
      {"Backing file and preallocation can only be used at the same time if extended_l2 is on",
       [](CreateOptions& o) {
         o.backing_filename = "b", o.backing_format = "raw";
         o.preallocation = Preallocation::kMetadata;
       }},
      {"Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
       "greater)",
       [](CreateOptions& o) { o.version = 2, o.lazy_refcounts = true; }},
      {"Refcount width must be a power of two and may not exceed 64 bits",
       [](CreateOptions& o) { o.refcount_bits = 3; }},
      {"Backing file and data-file-raw cannot be used at the same time",
       [](CreateOptions& o) {
         o.backing_filename = "b", o.backing_format = "raw";
         o.data_filename = "d", o.data_file_raw = true;
       }},
      {"External data files are only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)",
       [](CreateOptions& o) { o.version = 2, o.data_filename = "d"; }},
      {"Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
       "version=v3 or greater)",
       [](CreateOptions& o) { o.version = 2, o.compression_type = CompressionType::kZstd; }},
      {"The image size is too large for file format 'qcow2' (try using a larger cluster size)",
       [](CreateOptions& o) { o.size = (uint64_t{1} << 51) + 1; }},
  };
}

TEST(Validate, RefusesEachMistakeWithQemusMessage) {
  for (const Rule& rule : rules()) EXPECT_EQ(refusal({rule.mistake}), rule.message);
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.backing_format = "raw"; }}),
            "Backing format cannot be used without backing file");
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.data_file_raw = true; }}),
            "data-file-raw requires data-file");
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.version = 2, o.refcount_bits = 8; }}),
            "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
            "version=v3 or greater)");
}

TEST(Validate, ReportsTheMistakeThatQemuFindsFirst) {
  const std::vector<Rule> all = rules();
  for (size_t first = 0; first < all.size(); ++first) {
    for (size_t second = first + 1; second < all.size(); ++second) {
      // The cluster size is a single number, so it can have only one of these errors.
      if (first == 1 && second == 2) continue;
      const std::string message = refusal({all[second].mistake, all[first].mistake});
      // Version 2 and extended L2 entries, each from one of the two errors, are together a third
      // error.
      if (message == all[0].message) continue;
      EXPECT_EQ(message, all[first].message) << second;
    }
  }
}

TEST(Validate, RefusesClusterSizesThatAreNotAPowerOfTwoWithinBounds) {
  for (const uint64_t bad : {0u, 1u, 256u, 511u, 513u, 1000u, 65537u, 4194304u, 2097153u}) {
    EXPECT_NE(refusal({[bad](CreateOptions& o) { o.cluster_size = bad; }}), "") << bad;
  }
  for (uint64_t good = 512; good <= 2097152; good *= 2) {
    EXPECT_EQ(refusal({[good](CreateOptions& o) { o.cluster_size = good; }}), "") << good;
  }
}

TEST(Validate, RefusesRefcountWidthsThatAreNotAPowerOfTwoUpTo64) {
  for (const uint64_t bad : {0u, 3u, 5u, 65u, 128u}) {
    EXPECT_NE(refusal({[bad](CreateOptions& o) { o.refcount_bits = bad; }}), "") << bad;
  }
  for (uint64_t good = 1; good <= 64; good *= 2) {
    EXPECT_EQ(refusal({[good](CreateOptions& o) { o.refcount_bits = good; }}), "") << good;
  }
}

TEST(Validate, RefusesSizesBeyondTheFilesAndTheL1TablesLimits) {
  const auto of_size = [](uint64_t size, uint64_t cluster_size) {
    return refusal({[=](CreateOptions& o) { o.size = size, o.cluster_size = cluster_size; }});
  };
  EXPECT_EQ(of_size(INT64_MAX, 65536), "Could not resize image: Image size cannot be negative");
  EXPECT_EQ(of_size(UINT64_MAX, 65536), "Could not resize image: Image size cannot be negative");
  EXPECT_EQ(of_size(9223372036854774784u, 65536),
            "Could not resize image: offset(9223372036854774784) exceeds "
            "maximum(9223372035781033984)");
  EXPECT_EQ(of_size(uint64_t{1} << 51, 65536), "");
  EXPECT_EQ(of_size(137438953472u, 512), "");
  EXPECT_NE(of_size(137438953473u, 512), "");
  EXPECT_EQ(of_size(uint64_t{1} << 61, 2 * kMiB), "");
  EXPECT_NE(of_size((uint64_t{1} << 61) + 1, 2 * kMiB), "");
}

}  // namespace
}  // namespace byre::qcow2
