// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "block/block_device.h"
#include "byre/error.h"
#include "byre/warning.h"

namespace byre::qcow2 {

// Which requests an image accepts, and why it refuses the others. The only owner of that state,
// which never goes back.
//
//   phase         writes                                 next
//   kReadOnly     refused: EACCES                        none
//   kUnrepaired   refused: the dirty bit is not ours     none
//   kFresh        after the preparation                  kPrepared, by set_prepared()
//   kPrepared     accepted                               none
//
//   and in every phase
//   failed        refused, as flushes are: the failure   by note_failure()
//   corrupt       refused, as reads are: ENOMEDIUM       by report_corruption()
//
// A failure takes precedence over corruption: an image that has both refuses writes with the
// failure. A corrupt image in kReadOnly can still be read.
class Health {
 public:
  enum class Phase : uint8_t {
    kReadOnly,
    // Opened for writing by a checker although a writer with lazy refcounts did not close the
    // image: nothing may be allocated.
    kUnrepaired,
    kFresh,     // open for writing, and the file is as it was
    kPrepared,  // the file is ready for changes: see Preparation
  };

  // `file` is used for messages and must outlive this object. `warn` may be empty; see
  // OpenOptions::on_warning.
  Health(const BlockDevice& file, Phase phase, OnWarning warn);

  bool is_writable() const { return phase_ != Phase::kReadOnly; }
  bool is_prepared() const { return phase_ == Phase::kPrepared; }
  // REQUIRES: the phase is kFresh.
  void set_prepared();

  // Each throws the error that the table above gives.
  void check_may_write() const;  // failed or read-only
  void check_not_failed() const;
  void check_not_corrupt() const;
  void check_repaired() const;

  enum class Operation { kWrite, kFlush };
  // A metadata write or a flush failed: the state on disk is unknown, so the image refuses writes
  // from now on. The exception is a table for which there was no space: it stays in memory and is
  // written later.
  void note_failure(const Error& error, Operation operation);

  // Metadata that violates the format was found. Warns once per image. Returns the error to throw,
  // with the file's name: EIO, as in QEMU.
  Error report_corruption(ErrorData finding, std::string sentence);
  // The same for metadata that no request needs: the image remains usable.
  void warn_of_corruption(ErrorData finding, std::string sentence);
  // See OpenOptions::on_warning.
  void warn(const Warning& warning) const;
  // report_corruption() was called, and the image is open for writing.
  bool must_be_marked_corrupt() const { return is_corrupt_ && is_writable(); }
  // EIO for guest bytes that cannot be read although the storage works, with the file's name.
  Error unreadable(ErrorData reason, std::string sentence) const;

 private:
  void warn_of(const Error& problem);

  const BlockDevice* file_;
  Phase phase_;
  std::optional<Error> failure_;
  bool is_corrupt_ = false;
  bool has_warned_ = false;
  OnWarning warn_;
};

}  // namespace byre::qcow2
