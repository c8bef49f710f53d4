// SPDX-License-Identifier: Apache-2.0
#include "jobs/amend.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "async/loop.h"
#include "base/units.h"
#include "byre/error.h"
#include "jobs/create_job.h"
#include "jobs/info.h"
#include "unit/support/temporary_folder.h"

namespace byre::jobs {
namespace {

using Options = std::vector<std::pair<std::string, std::string>>;

class AmendImage : public testing::Test {
 protected:
  void create_image(Options options = {}) const {
    CreateJob creation;
    creation.filename = folder_.file("image");
    creation.format = "qcow2";
    creation.options = std::move(options);
    creation.size = kMiB;
    sync_wait(create(creation));
  }
  AmendJob job(Options options) const {
    AmendJob job;
    job.filename = folder_.file("image");
    job.options = std::move(options);
    return job;
  }
  // The code of its error, its message if it has none; empty: none.
  std::string result(AmendJob job) const {
    try {
      sync_wait(amend(std::move(job)));
    } catch (const Error& error) {
      const std::string code(error.data().code.view());
      return code.empty() ? error.message() : code;
    }
    return "";
  }
  std::string result(Options options) const { return result(job(std::move(options))); }
  qcow2::layout::Header header() const { return qcow2::layout::Header::parse(bytes()); }
  std::vector<uint8_t> bytes() const {
    const auto all = folder_.contents("image");
    return {all.begin(), all.end()};
  }

  const test::TemporaryFolder folder_;
};

class CountedProgress : public Progress {
 public:
  explicit CountedProgress(Cancellation* cancellation = nullptr) : cancellation_(cancellation) {}
  void update(uint64_t done, uint64_t total) override {
    EXPECT_LE(done, total);
    const double part = static_cast<double>(done) / static_cast<double>(total);
    EXPECT_GE(part, last_);
    last_ = part;
    if (cancellation_ != nullptr) cancellation_->request();
  }
  double last() const { return last_; }

 private:
  Cancellation* cancellation_;
  double last_ = 0;
};

TEST_F(AmendImage, ManyPropertiesAtOnce) {
  create_image();
  CountedProgress progress;
  AmendJob all = job({{"refcount_bits", "64"}, {"lazy_refcounts", "on"}, {"size", "2M"}});
  all.progress = &progress;
  EXPECT_EQ(result(all), "");
  EXPECT_EQ(progress.last(), 1.0);
  EXPECT_EQ(header().refcount_bits(), 64u);
  EXPECT_TRUE(header().has_lazy_refcounts());
  EXPECT_FALSE(header().is_dirty());
  EXPECT_EQ(header().size, 2 * kMiB);
  EXPECT_EQ(result({{"refcount_bits", "16"}, {"compat", "v2"}, {"lazy_refcounts", "off"}}), "");
  EXPECT_EQ(header().version, 2u);
  EXPECT_EQ(result({{"compat", "1.1"}, {"refcount_bits", "1"}}), "");
  EXPECT_EQ(header().version, 3u);
  EXPECT_EQ(header().refcount_bits(), 1u);
}

TEST_F(AmendImage, ARefusalChangesNothing) {
  create_image({{"refcount_bits", "64"}});
  const std::vector<uint8_t> before = bytes();
  const std::pair<Options, std::string> cases[] = {
      {{{"compat", "0.9"}}, "amend-compat-unknown"},
      {{{"compat", "v2"}}, "qcow2-downgrade-with-refcount-bits"},
      {{{"refcount_bits", "3"}}, "amend-refcount-bits-wrong"},
      {{{"refcount_bits", "8"}, {"compat", "v2"}}, "amend-refcount-bits-in-version-2"},
      {{{"refcount_bits", "16"}, {"compat", "v2"}, {"lazy_refcounts", "on"}},
       "amend-lazy-refcounts-in-version-2"},
      {{{"refcount_bits", "16"}, {"backing_file", "x"}}, "amend-backing-file-changed"},
      {{{"refcount_bits", "16"}, {"size", "1000"}}, "qcow2-new-size-unaligned"},
      {{{"data_file", "x"}}, "amend-no-data-file"},
      {{{"data_file_raw", "on"}}, "amend-data-file-not-raw"},
      {{{"encrypt.state", "active"}}, "amend-not-encrypted"},
      {{{"nope", "1"}}, "Invalid parameter 'nope'"},
      {{{"cluster_size", "512"}},
       "Invalid parameter 'cluster_size'\nThis option is only supported for image creation"},
      {{{"lazy_refcounts", "maybe"}}, "Parameter 'lazy_refcounts' expects 'on' or 'off'"},
  };
  for (const auto& [options, expected] : cases) {
    EXPECT_EQ(result(options), expected);
    EXPECT_EQ(bytes(), before) << expected;
  }
  AmendJob raw = job({{"size", "2M"}});
  raw.image.format = "raw";
  EXPECT_EQ(result(raw), "Format driver 'raw' does not support option amendment");
}

TEST_F(AmendImage, StopsBetweenAndInsideOfSteps) {
  create_image();
  Cancellation cancellation;
  CountedProgress progress(&cancellation);
  AmendJob stopped = job({{"refcount_bits", "64"}, {"size", "2M"}});
  stopped.progress = &progress;
  stopped.cancellation = &cancellation;
  try {
    sync_wait(amend(stopped));
    FAIL() << "it went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCancelled);
    EXPECT_NE(error.hint().find("The image is sound"), std::string::npos);
  }
  EXPECT_EQ(header().size, kMiB);
  EXPECT_EQ(result({{"refcount_bits", "64"}, {"size", "2M"}}), "");
  EXPECT_EQ(header().size, 2 * kMiB);
  EXPECT_EQ(header().refcount_bits(), 64u);
}

TEST_F(AmendImage, TheFormatIsFound) {
  create_image();
  EXPECT_EQ(sync_wait(amended_format(folder_.file("image"), {})), "qcow2");
}

}  // namespace
}  // namespace byre::jobs
