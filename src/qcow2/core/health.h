// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "block/block_device.h"
#include "byre/error.h"

namespace byre::qcow2 {

// Which requests an image takes, and why it refuses the others. The one owner of that state; it
// never goes back.
//
//   phase         writes                                 next
//   kReadOnly     refused: EACCES                        none
//   kUnrepaired   refused: the dirty bit is not ours     none
//   kFresh        after the preparation                  kPrepared, by set_prepared()
//   kPrepared     yes                                    none
//
//   and in every phase
//   failed        refused, as flushes are: the failure   by note_failure()
//   corrupt       refused, as reads are: ENOMEDIUM       by report_corruption()
//
// A failure comes before corruption: an image that is both refuses writes with the failure. An
// image in kReadOnly that is corrupt goes on to be read.
class Health {
 public:
  enum class Phase : uint8_t {
    kReadOnly,
    // Open for writing, by a checker, though a writer with lazy refcounts did not close the image:
    // nothing may be allocated.
    kUnrepaired,
    kFresh,     // open for writing, and the file is as it was
    kPrepared,  // the file is ready for changes: see Preparation
  };
  using Warn = std::function<void(const std::string&)>;

  // `file` is for messages and outlives it. `warn` may be empty; see OpenOptions::on_warning.
  Health(const BlockDevice& file, Phase phase, Warn warn);

  bool is_writable() const { return phase_ != Phase::kReadOnly; }
  bool is_prepared() const { return phase_ == Phase::kPrepared; }
  // REQUIRES: the phase is kFresh.
  void set_prepared();

  // Each throws the Error of the table above.
  void check_may_write() const;  // failed or read-only
  void check_not_failed() const;
  void check_not_corrupt() const;
  void check_repaired() const;

  enum class Operation { kWrite, kFlush };
  // A metadata write or a flush failed: what is on disk is unknown, so the image refuses writes
  // from now on. But a table that found no space stays in memory and is written later.
  void note_failure(const Error& error, Operation operation);

  // Metadata that violates the format was met; `finding` in QEMU's words. Warns once an image.
  // Returns the error to throw: EIO, as in QEMU; the hint has file and finding.
  Error report_corruption(const std::string& finding);
  // The same of metadata that no request needs: the image stays usable.
  void warn_of_corruption(const std::string& finding);
  // report_corruption() was called, and the image is open for writing.
  bool must_be_marked_corrupt() const { return is_corrupt_ && is_writable(); }
  // EIO for guest bytes that cannot be read though the storage works; the hint has file and reason.
  Error unreadable(const std::string& reason) const;

 private:
  const BlockDevice* file_;
  Phase phase_;
  std::optional<Error> failure_;
  bool is_corrupt_ = false;
  bool has_warned_ = false;
  Warn warn_;
};

}  // namespace byre::qcow2
