// SPDX-License-Identifier: Apache-2.0
#include "qcow2/check/pass.h"

#include <fmt/format.h>

#include <cerrno>

#include "base/checked.h"
#include "base/units.h"
#include "qcow2/check/copied_flags.h"

// The order of the steps is QEMU's, because it determines the order of the findings.

namespace byre::qcow2 {
namespace {

// QEMU's limit: it counts clusters in an int.
constexpr uint64_t kClustersMax = INT32_MAX;

}  // namespace

CheckPass::CheckPass(CheckSubject subject, const CheckOptions* options)
    : subject_(std::move(subject)),
      options_(options),
      geometry_(subject_.header),
      findings_(options),
      file_(subject_.file),
      counts_(0, geometry_.refcount_max()),
      references_(subject_.header, &file_, &counts_, &findings_, options),
      metadata_(&subject_, &file_, &references_, options),
      bitmaps_(&subject_, &file_, &references_, options),
      refcounts_(subject_.header, &file_, &references_, options) {}

void CheckPass::make_counts() {
  const uint64_t clusters = geometry_.clusters_for(file_.size());
  if (clusters > kClustersMax) {
    findings_.count(Severity::kCheckError, 1);
    throw Error(
        ErrorKind::kUnsupported, EFBIG,
        ErrorData{.code = "qcow2-clusters-too-many", .value = clusters, .bound = kClustersMax},
        fmt::format("the file has {} clusters; at most {} can be checked", clusters, kClustersMax));
  }
  counts_.grow(clusters);
}

Task<void> CheckPass::count() {
  const layout::Header& header = subject_.header;
  co_await metadata_.read_snapshots();
  make_counts();
  references_.count_region(0, geometry_.cluster_size());
  co_await references_.count_l1_table(header.l1_table_offset.value(), header.l1_size, true);
  co_await metadata_.count_snapshots();
  if (subject_.extensions.crypto_header) {
    const layout::CryptoHeader& crypto = *subject_.extensions.crypto_header;
    references_.count_region(crypto.offset.value(), crypto.length);
  }
  co_await bitmaps_.count();
  co_await references_.count_owed();
  co_await refcounts_.read_table();
  refcounts_.count_table();
  bitmaps_.find_overlapping();
}

Task<void> CheckPass::compare() {
  image_end_offset_ = co_await refcounts_.compare();
}

// As long as no fault was found, the flags seen on the way agree with the counts, and the counts
// are the refcounts.
Task<void> CheckPass::check_copied() {
  if (!references_.is_suspect() && counts_.claims_hold()) co_return;
  const layout::Header& header = subject_.header;
  CopiedFlagChecker copied(&file_, &references_, &refcounts_, options_);
  co_await copied.check(header.l1_table_offset.value(), header.l1_size);
}

CheckResult CheckPass::result() const {
  CheckResult result;
  findings_.store(result);
  result.image_end_offset = image_end_offset_;
  result.clusters = references_.statistics();
  result.clusters.total = geometry_.clusters_for(align_down(subject_.header.size, kSectorSize));
  return result;
}

Error end_of_check(const Error& error) {
  ErrorData data = error.data();
  data.code = "qcow2-check-ended";
  return Error(error.kind(), error.errno_value(), std::move(data),
               error.hint().empty() ? error.sentence() : error.hint());
}

}  // namespace byre::qcow2
