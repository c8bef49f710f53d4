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

// One pass over an image, in steps: a check takes all of them, a repair looks at what each step has
// found before it takes the next. It reads only. What it has read (header, size of the file,
// tables) is valid until something is written: then a new pass is needed.
class CheckPass {
 public:
  // `options` must outlive it.
  CheckPass(CheckSubject subject, const CheckOptions* options);

  // The steps, in this order. Each throws if the image cannot be followed any further.
  //
  // Reads the snapshot table and counts every reference.
  Task<void> count();
  // Compares the refcounts with the references.
  Task<void> compare();
  // Checks the copied flags, if there is any reason to doubt them.
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

// The error that a check or a repair throws for an error of one of its steps: with a code of its own,
// because QEMU prints only the text of the errno.
Error end_of_check(const Error& error);

}  // namespace byre::qcow2
