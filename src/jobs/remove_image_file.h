// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace byre::jobs {

// Removes a file that a job made and did not finish. Only regular files: devices stay. Failing is
// not an error; there is nothing better to be done.
void remove_image_file(const std::string& filename);

}  // namespace byre::jobs
