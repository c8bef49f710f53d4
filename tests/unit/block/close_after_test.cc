// SPDX-License-Identifier: Apache-2.0
#include "block/close_after.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "async/loop.h"
#include "byre/error.h"
#include "storage/memory_device.h"
#include "testing/fault_device.h"

namespace byre {
namespace {

// The errno of close_after() on a device whose close() may fail; 0: it did not throw.
int outcome(bool work_fails, bool close_fails) {
  faults::FaultDevice device(std::make_unique<storage::MemoryDevice>(512));
  if (close_fails) {
    device.add_rule({.operation = faults::Operation::kClose, .errno_value = EDQUOT});
  }
  std::exception_ptr error;
  if (work_fails) error = std::make_exception_ptr(Error::from_errno(EIO, "the work failed"));
  int errno_value = 0;
  try {
    sync_wait(close_after(&device, error));
  } catch (const Error& thrown) {
    errno_value = thrown.errno_value();
  }
  EXPECT_EQ(device.count(faults::Operation::kClose), 1u);
  return errno_value;
}

TEST(CloseAfter, ClosesInAnyCaseAndThrowsTheFirstError) {
  EXPECT_EQ(outcome(false, false), 0);
  EXPECT_EQ(outcome(true, false), EIO);
  EXPECT_EQ(outcome(false, true), EDQUOT);
  EXPECT_EQ(outcome(true, true), EIO);
}

}  // namespace
}  // namespace byre
