// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace byre::qcow2 {

// The parts of an image that is open for writing: refcounts, allocator, writer.
struct WriteState {};

}  // namespace byre::qcow2
