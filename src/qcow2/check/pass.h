// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "async/task.h"
#include "qcow2/check/bitmaps.h"
#include "qcow2/check/check.h"
#include "qcow2/check/file.h"
#include "qcow2/check/findings.h"
#include "qcow2/check/metadata.h"
#include "qcow2/check/refcounts.h"
#include "qcow2/check/reference_counts.h"
#include "qcow2/check/references.h"

namespace byre::qcow2 {

// One look at an image, step by step: a check takes all the steps, a repair looks at what each has
// found before it takes the next. It reads only. What it was told of the image (header, size of the
// file, tables) is good until somebody writes: then a new pass begins.
class CheckPass {
 public:
  // `options` outlives it.
  CheckPass(CheckSubject subject, const CheckOptions* options);

  // The steps, in this order. Each throws where the image cannot be followed any further.
  //
  // Snapshot table, and every reference.
  Task<void> count();
  // The refcounts against the references.
  Task<void> compare();
  // The copied flags, as far as something makes them doubtful.
  Task<void> check_copied();

  CheckResult result() const;

  const CheckSubject& subject() const { return subject_; }
  const layout::Geometry& geometry() const { return geometry_; }
  const CheckOptions& options() const { return *options_; }
  CheckerFile& file() { return file_; }
  Findings& findings() { return findings_; }
  ReferenceCounts& counts() { return counts_; }
  ReferenceCounter& references() { return references_; }
  StoredRefcounts& refcounts() { return refcounts_; }
  const MetadataCounter& metadata() const { return metadata_; }
  const BitmapCounter& bitmaps() const { return bitmaps_; }

 private:
  void make_counts();

  const CheckSubject subject_;
  const CheckOptions* options_;
  const layout::Geometry geometry_;
  Findings findings_;
  CheckerFile file_;
  ReferenceCounts counts_;
  ReferenceCounter references_;
  MetadataCounter metadata_;
  BitmapCounter bitmaps_;
  StoredRefcounts refcounts_;
  uint64_t image_end_offset_ = 0;
};

// What a check or a repair throws for an error of one of the steps: QEMU gives the number's text
// alone, and the finding before it has said more.
Error with_errno_text(const Error& error);

}  // namespace byre::qcow2
