// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "byre/error.h"
#include "qcow2/create/create.h"

namespace byre::qcow2 {
namespace {

using Mistake = std::function<void(CreateOptions&)>;

std::optional<Error> error_of(const std::vector<Mistake>& mistakes) {
  CreateOptions options;
  options.size = kMiB;
  for (const Mistake& mistake : mistakes) mistake(options);
  try {
    validate(options);
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

std::string refusal(const std::vector<Mistake>& mistakes) {
  const std::optional<Error> error = error_of(mistakes);
  return error ? std::string(error->data().code) : "";
}

// Each is refused on its own; in the order in which QEMU finds them.
struct Rule {
  const char* code;
  Mistake mistake;
};

std::vector<Rule> rules() {
  return {
      {"qcow2-extended-l2-in-version-2",
       [](CreateOptions& o) { o.version = 2, o.extended_l2 = true; }},
      {"qcow2-cluster-size-wrong", [](CreateOptions& o) { o.cluster_size = 100; }},
      {"qcow2-extended-l2-in-small-clusters",
       [](CreateOptions& o) { o.cluster_size = 8192, o.extended_l2 = true; }},
      {"qcow2-backing-file-with-preallocation",
       [](CreateOptions& o) {
         o.backing_filename = "b", o.backing_format = "raw";
         o.preallocation = Preallocation::kMetadata;
       }},
      {"qcow2-lazy-refcounts-in-version-2",
       [](CreateOptions& o) { o.version = 2, o.lazy_refcounts = true; }},
      {"qcow2-refcount-bits-wrong", [](CreateOptions& o) { o.refcount_bits = 3; }},
      {"qcow2-data-file-raw-with-backing-file",
       [](CreateOptions& o) {
         o.backing_filename = "b", o.backing_format = "raw";
         o.data_filename = "d", o.data_file_raw = true;
       }},
      {"qcow2-data-file-in-version-2",
       [](CreateOptions& o) { o.version = 2, o.data_filename = "d"; }},
      {"qcow2-compression-type-in-version-2",
       [](CreateOptions& o) { o.version = 2, o.compression_type = CompressionType::kZstd; }},
      {"qcow2-size-beyond-l1-table", [](CreateOptions& o) { o.size = (uint64_t{1} << 51) + 1; }},
  };
}

TEST(Validate, RefusesEachMistake) {
  for (const Rule& rule : rules()) EXPECT_EQ(refusal({rule.mistake}), rule.code);
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.backing_format = "raw"; }}),
            "qcow2-backing-format-alone");
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.data_file_raw = true; }}),
            "qcow2-data-file-raw-alone");
  EXPECT_EQ(refusal({[](CreateOptions& o) { o.version = 2, o.refcount_bits = 8; }}),
            "qcow2-refcount-bits-in-version-2");
}

TEST(Validate, ReportsTheMistakeThatQemuFindsFirst) {
  const std::vector<Rule> all = rules();
  for (size_t first = 0; first < all.size(); ++first) {
    for (size_t second = first + 1; second < all.size(); ++second) {
      // The cluster size is a single number, so it can have only one of these errors.
      if (first == 1 && second == 2) continue;
      const std::string code = refusal({all[second].mistake, all[first].mistake});
      // Version 2 and extended L2 entries, each from one of the two errors, are together a third
      // error.
      if (code == all[0].code) continue;
      EXPECT_EQ(code, all[first].code) << second;
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
  EXPECT_EQ(of_size(INT64_MAX, 65536), "qcow2-size-negative");
  EXPECT_EQ(of_size(UINT64_MAX, 65536), "qcow2-size-negative");
  EXPECT_EQ(of_size(9223372036854774784u, 65536), "qcow2-size-beyond-offsets");
  const auto error = error_of({[](CreateOptions& o) { o.size = 9223372036854774784u; }});
  EXPECT_EQ(error->data().value, 9223372036854774784u);
  EXPECT_EQ(error->data().bound, 9223372035781033984u);
  EXPECT_EQ(of_size(uint64_t{1} << 51, 65536), "");
  EXPECT_EQ(of_size(137438953472u, 512), "");
  EXPECT_NE(of_size(137438953473u, 512), "");
  EXPECT_EQ(of_size(uint64_t{1} << 61, 2 * kMiB), "");
  EXPECT_NE(of_size((uint64_t{1} << 61) + 1, 2 * kMiB), "");
}

}  // namespace
}  // namespace byre::qcow2
