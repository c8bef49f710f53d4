// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "byre/error.h"
#include "open/creation_options.h"
#include "open/image_creation.h"
#include "qcow2/create/create.h"

// The parts of kQcow2Creation.
namespace byre::open {

std::span<const OptionDescription> qcow2_creation_options();
// Throws Error with QEMU's message for values that are not accepted; contradictions are not looked
// for.
qcow2::CreateOptions qcow2_create_options(const CreationOptions& options);
SizeEstimate measure_qcow2(const CreationOptions& options);
// The error for an image that is to be encrypted.
Error no_encryption();

}  // namespace byre::open
