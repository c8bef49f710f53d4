// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "storage/file_facts.h"

namespace byre::open {

// The files that a job has created, to be removed if it fails. A file that existed before, with or
// without contents, is not one of them, and neither is a device. For a symbolic link whose target
// did not exist, the created file is removed, and the link stays.
class CreatedFiles {
 public:
  // Adds a file that did not exist before.
  void add(const std::string& path, FileIdentity identity);
  // Removes those that are still the same files. Failures are ignored, as nothing else could be
  // done.
  void remove();

 private:
  struct File {
    std::string path;  // with links resolved
    FileIdentity identity;
  };
  std::vector<File> files_;
};

}  // namespace byre::open
