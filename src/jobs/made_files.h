// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "storage/file_facts.h"

namespace byre::jobs {

// The files that a job has made, to be removed where it does not end well. A file that was there
// before, with or without contents, is not its own, and neither is a device. Of a symbolic link
// that led nowhere the file that came to be is removed, and the link stays.
class MadeFiles {
 public:
  // For a file that was not there and now is.
  void add(const std::string& path, storage::FileIdentity identity);
  // Those that still are what they were. Failing is not an error; there is nothing better to be
  // done.
  void remove();

 private:
  struct File {
    std::string path;  // without links
    storage::FileIdentity identity;
  };
  std::vector<File> files_;
};

}  // namespace byre::jobs
