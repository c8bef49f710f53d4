// SPDX-License-Identifier: Apache-2.0
#include "jobs/remove_image_file.h"

#include <sys/stat.h>
#include <unistd.h>

namespace byre::jobs {

void remove_image_file(const std::string& filename) {
  const std::string path = filename.starts_with("file:") ? filename.substr(5) : filename;
  struct stat status{};
  if (lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) ::unlink(path.c_str());
}

}  // namespace byre::jobs
