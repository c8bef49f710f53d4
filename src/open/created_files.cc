// SPDX-License-Identifier: Apache-2.0
#include "open/created_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

namespace byre::open {

void CreatedFiles::add(const std::string& path, FileIdentity identity) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(path, error);
  if (!error) files_.push_back({real.string(), identity});
}

void CreatedFiles::remove() {
  for (const File& file : files_) {
    struct stat status{};
    if (lstat(file.path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    if (FileIdentity{status.st_dev, status.st_ino} == file.identity) {
      ::unlink(file.path.c_str());
    }
  }
  files_.clear();
}

}  // namespace byre::open
