// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>
#include <vector>

#include "unit/qcow2/request_script.h"

// The layouts on which tests of single faults run their scripts.
namespace byre::qcow2::test {

inline std::vector<Layout> layouts() {
  std::vector<Layout> all;
  all.push_back(layout_of(64 * 1024, 512));
  all.push_back(layout_of(256 * 1024, 4096));
  Layout extended = layout_of(256 * 1024, 16384);
  extended.create.extended_l2 = true;
  all.push_back(extended);
  Layout backing = layout_of(64 * 1024, 1024);
  backing.create.backing_filename = "backing";
  backing.create.backing_format = "raw";
  backing.backing_size = 48 * 1024;
  all.push_back(backing);
  Layout old = layout_of(64 * 1024, 1024);
  old.create.version = 2;
  all.push_back(old);
  Layout narrow = layout_of(64 * 1024, 512);
  narrow.create.refcount_bits = 64;
  all.push_back(narrow);
  return all;
}

inline void expect_model_holds(const Disks& disks, const Layout& layout, const SectorModel& model) {
  expect_sound(disks, true);
  const std::vector<uint8_t> bytes = sync_wait(read_disks(clone(disks), layout.backing_size));
  EXPECT_EQ(model.first_wrong(bytes), std::nullopt);
}

}  // namespace byre::qcow2::test
