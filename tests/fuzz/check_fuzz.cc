// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "async/loop.h"
#include "base/assert.h"
#include "byre/error.h"
#include "qcow2/image/image_check.h"
#include "storage/memory_device.h"

// The bytes are an image that is checked: the check ends, in bounded time and memory, in an error
// or a result; the result agrees with the findings, and a second check gives the same.
namespace {

using namespace byre;

constexpr uint64_t kFindingsMax = 2000;

struct Seen {
  uint64_t corruptions = 0;
  uint64_t leaks = 0;
  uint64_t check_errors = 0;
  uint64_t text_size = 0;
  bool operator==(const Seen&) const = default;
};

void note(Seen* seen, const qcow2::Finding& finding) {
  seen->corruptions += finding.severity == qcow2::Severity::kCorruption;
  seen->leaks += finding.severity == qcow2::Severity::kLeak;
  seen->check_errors += finding.severity == qcow2::Severity::kCheckError;
  seen->text_size += problem_of(finding).message().size();
}

// Returns false if the check could not be completed.
Task<bool> check(qcow2::Image* image, Seen* seen, qcow2::CheckResult* result) {
  qcow2::CheckOptions options;
  options.findings_max = kFindingsMax;
  options.on_finding = [seen](const qcow2::Finding& finding) { note(seen, finding); };
  try {
    *result = co_await qcow2::check(*image, std::move(options));
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
    co_return false;
  }
  co_return true;
}

Task<void> run(const std::vector<uint8_t>* bytes) {
  std::unique_ptr<qcow2::Image> image;
  try {
    auto file = std::make_unique<storage::MemoryDevice>(ConstBytes(*bytes));
    qcow2::OpenOptions options;
    options.for_check = true;
    image = co_await qcow2::Image::open(std::move(file), std::move(options));
  } catch (const Error& error) {
    BYRE_ASSERT(!error.message().empty());
    co_return;
  }
  Seen seen;
  qcow2::CheckResult result;
  const bool is_whole = co_await check(image.get(), &seen, &result);
  if (is_whole) {
    BYRE_ASSERT(seen.corruptions <= result.corruptions && seen.leaks <= result.leaks);
    BYRE_ASSERT(seen.check_errors <= result.check_errors);
    BYRE_ASSERT(result.clusters.fragmented <= result.clusters.allocated);
    BYRE_ASSERT(result.clusters.compressed <= result.clusters.fragmented);
    BYRE_ASSERT(result.image_end_offset > 0);
  }
  // Only every other image, so that more images are tried.
  if (bytes->back() % 2 != 0) co_return;
  Seen seen_again;
  qcow2::CheckResult result_again;
  const bool is_whole_again = co_await check(image.get(), &seen_again, &result_again);
  BYRE_ASSERT(is_whole == is_whole_again && seen == seen_again);
  BYRE_ASSERT(result.clusters == result_again.clusters);
  co_await image->close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> bytes(data, data + size);
  Loop loop({.seed = 1});
  loop.run(run(&bytes));
  return 0;
}
