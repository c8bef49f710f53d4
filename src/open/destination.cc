// SPDX-License-Identifier: Apache-2.0
#include "open/destination.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "byre/error.h"
#include "open/driver.h"
#include "open/host_driver.h"
#include "open/image_name.h"
#include "open/invalid_argument.h"

namespace byre::open {

namespace {

bool is_device(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

}  // namespace

Destination destination_of(const std::string& filename) {
  const Driver& driver = driver_of_filename(filename, true);
  const std::optional<storage::HostDriver> of_host = host_driver(driver);
  if (!of_host) {
    throw invalid_argument(
        fmt::format("Protocol driver '{}' does not support image creation", driver.name));
  }
  Destination file;
  file.driver = *of_host;
  file.names_driver = protocol_of(filename).has_value();
  file.path = filename;
  if (file.names_driver) file.path.erase(0, filename.find(':') + 1);
  return file;
}

Task<std::unique_ptr<storage::FileDevice>> open_destination(Destination file,
                                                            OldContents old_contents) {
  const bool is_file = file.driver == storage::HostDriver::kFile;
  if (is_file && file.path.empty()) throw Error::from_errno(ENOENT, "Could not create ''");
  // A device that was specified as a file has no size that could be set.
  if (is_file && file.names_driver && is_device(file.path)) {
    throw Error::from_errno(EINVAL, "Could not resize file");
  }
  storage::FileOptions options;
  options.writable = true;
  options.create = is_file;
  options.truncate = old_contents == OldContents::kGone;
  options.driver = file.driver;
  options.lock = kLockCreate;
  std::optional<Error> failure;
  try {
    if (file.path.empty()) {
      throw invalid_argument(fmt::format("The '{}' block driver requires a file name",
                                         storage::host_driver_name(file.driver)));
    }
    co_return co_await storage::FileDevice::open(file.path, options);
  } catch (const Error& error) {
    failure = error;
  }
  if (is_file) throw *failure;
  throw failure->with_prefix(fmt::format(
      "Protocol driver '{}' does not support creating new images, so an existing image must be "
      "selected as the target; however, opening the given target as an existing image failed",
      storage::host_driver_name(file.driver)));
}

}  // namespace byre::open
