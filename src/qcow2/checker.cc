// SPDX-License-Identifier: Apache-2.0
#include "qcow2/checker.h"

#include <cerrno>

#include "base/checked.h"
#include "base/units.h"

#include "qcow2/checker_copied.h"
#include "qcow2/checker_counts.h"
#include "qcow2/checker_file.h"
#include "qcow2/checker_findings.h"
#include "qcow2/checker_metadata.h"
#include "qcow2/checker_refcounts.h"
#include "qcow2/checker_references.h"

// The order of the steps is QEMU's, because the findings come in it.

namespace byre::qcow2 {
namespace {

// QEMU's bound: it counts clusters in an int.
constexpr uint64_t kClustersMax = INT32_MAX;

class Checker {
 public:
  Checker(CheckSubject subject, CheckOptions options)
      : subject_(std::move(subject)),
        options_(std::move(options)),
        geometry_(subject_.header),
        findings_(&options_),
        file_(subject_.file),
        counts_(0, geometry_.refcount_max()),
        references_(geometry_, &file_, &counts_, &findings_, &options_),
        metadata_(&subject_, &file_, &references_, &options_),
        refcounts_(subject_.header, &file_, &references_, &options_) {}

  Task<CheckResult> run() {
    const layout::Header& header = subject_.header;
    co_await metadata_.read_snapshots();
    make_counts();
    co_await count_references();

    CheckResult result;
    result.image_end_offset = co_await refcounts_.compare();
    // While nothing is amiss, the flags that were seen on the way agree with the counts, and the
    // counts are the refcounts.
    if (references_.is_suspect() || !counts_.claims_hold()) {
      CopiedFlagChecker copied(&file_, &references_, &refcounts_, &options_);
      co_await copied.check(header.l1_table_offset.value(), header.l1_size);
    }
    findings_.store(result);
    result.clusters = references_.statistics();
    result.clusters.total = geometry_.clusters_for(align_down(header.size, kSectorSize));
    co_return result;
  }

 private:
  void make_counts() {
    const uint64_t clusters = geometry_.clusters_for(file_.size());
    if (clusters > kClustersMax) {
      findings_.count(Severity::kCheckError, 1);
      throw Error(ErrorKind::kUnsupported, EFBIG, errno_text(EFBIG),
                  "the file has " + std::to_string(clusters) + " clusters");
    }
    counts_.grow(clusters);
  }

  Task<void> count_references() {
    const layout::Header& header = subject_.header;
    references_.count_region(0, geometry_.cluster_size());
    co_await references_.count_l1_table(header.l1_table_offset.value(), header.l1_size, true);
    co_await metadata_.count_snapshots();
    if (subject_.extensions.crypto_header) {
      const layout::CryptoHeader& crypto = *subject_.extensions.crypto_header;
      references_.count_region(crypto.offset.value(), crypto.length);
    }
    co_await metadata_.count_bitmaps();
    co_await references_.count_owed();
    co_await refcounts_.read_table();
    refcounts_.count_table();
  }

  const CheckSubject subject_;
  const CheckOptions options_;
  const layout::Geometry geometry_;
  Findings findings_;
  CheckerFile file_;
  ReferenceCounts counts_;
  ReferenceCounter references_;
  MetadataCounter metadata_;
  StoredRefcounts refcounts_;
};

}  // namespace

Task<CheckResult> check(CheckSubject subject, CheckOptions options) {
  Checker checker(std::move(subject), std::move(options));
  try {
    co_return co_await checker.run();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
    // QEMU gives the number's text alone; the finding before it has said more.
    throw Error(error.kind(), error.errno_value(), errno_text(error.errno_value()),
                error.hint().empty() ? error.message() : error.hint());
  }
}

Task<CheckResult> check(Image& image, CheckOptions options) {
  CheckSubject subject;
  subject.file = &image.file();
  subject.header = image.header();
  subject.extensions = image.extensions();
  co_return co_await check(std::move(subject), std::move(options));
}

}  // namespace byre::qcow2
