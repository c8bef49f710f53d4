// SPDX-License-Identifier: Apache-2.0
#include "jobs/file_identities.h"

#include <sys/stat.h>

#include <cerrno>

#include "byre/error.h"

namespace byre::jobs {

std::set<FileIdentity> files_below(const BlockDevice& device) {
  std::set<FileIdentity> files;
  if (const std::optional<FileIdentity> file = device.identity()) files.insert(*file);
  for (const ChildDevice& child : device.children()) files.merge(files_below(*child.device));
  return files;
}

std::optional<FileIdentity> identity_of(const std::string& path) {
  const std::string plain = path.starts_with("file:") ? path.substr(5) : path;
  struct stat status{};
  if (stat(plain.c_str(), &status) != 0) return std::nullopt;
  // As in FileFacts: a device is the same under any of its names.
  if (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) {
    return FileIdentity{status.st_rdev, 0};
  }
  return FileIdentity{status.st_dev, status.st_ino};
}

void refuse_as_target(const std::string& path, const std::set<FileIdentity>& files) {
  const std::optional<FileIdentity> identity = identity_of(path);
  if (!identity || !files.contains(*identity)) return;
  throw Error(ErrorKind::kLocked, EAGAIN, ErrorData{.code = "job-target-is-source", .file = path},
              "the data to be copied is read from the same file")
      .with_prefix("Cannot write to '" + path + "'");
}

}  // namespace byre::jobs
