// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "async/task.h"
#include "qcow2/check/file.h"
#include "qcow2/check/references.h"
#include "qcow2/layout/bitmap.h"

namespace byre::qcow2 {

// Counts the references of bitmaps for a check: directory, tables and data. A bitmap with something
// invalid in any of these is reported by name and does not affect the others. The constructor's
// arguments must outlive it.
class BitmapCounter {
 public:
  BitmapCounter(const CheckSubject* subject, CheckerFile* file, ReferenceCounter* references,
                const CheckOptions* options);

  Task<void> count();
  // Finds bitmaps whose tables are also something else.
  // REQUIRES: everything is counted.
  void find_overlapping();

  // The bitmaps of the directory without any problem; and the others.
  std::vector<layout::BitmapEntry> sound() const;
  const std::vector<layout::BrokenBitmap>& broken() const { return broken_; }
  bool has_broken() const { return !broken_.empty() || is_count_wrong_; }

 private:
  struct Bitmap {
    layout::BitmapEntry entry;
    bool is_broken = false;
  };

  bool are_removed() const;
  Task<void> read_directory();
  void add_broken(layout::BrokenBitmap bitmap);
  void add_broken(Bitmap* bitmap, std::string reason);
  Task<void> count_table(Bitmap* bitmap);
  Task<void> count_table_cluster(Bitmap* bitmap, uint64_t offset, uint64_t length, uint64_t times);

  const CheckSubject* subject_;
  CheckerFile* file_;
  ReferenceCounter* references_;
  const CheckOptions* options_;
  std::vector<Bitmap> bitmaps_;
  std::vector<layout::BrokenBitmap> broken_;
  bool is_count_wrong_ = false;
  std::unordered_map<uint64_t, SharedTable> shared_;  // by host offset of a table's cluster
};

}  // namespace byre::qcow2
