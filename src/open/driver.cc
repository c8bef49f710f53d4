// SPDX-License-Identifier: Apache-2.0
#include "open/driver.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/cdrom.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "open/image_name.h"

namespace byre::open {

namespace {

constexpr std::array kDrivers{&kFileDriver,     &kHostDeviceDriver, &kHostCdromDriver,
                              &kRawDriver,      &kQcow2Driver,      &kNullDriver,
                              &kBlkdebugDriver, &kCopyOnReadDriver, &kCompressDriver};

// Whether it supports the requests that only drives support.
bool is_drive(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  const bool answers = ioctl(fd, CDROM_DRIVE_STATUS, CDSL_CURRENT) != -1;
  ::close(fd);
  return answers;
}

const Driver& driver_of_path(const std::string& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return kFileDriver;
  if (S_ISBLK(status.st_mode)) return is_drive(path) ? kHostCdromDriver : kHostDeviceDriver;
  return S_ISCHR(status.st_mode) ? kHostDeviceDriver : kFileDriver;
}

}  // namespace

std::span<const Driver* const> drivers() {
  return kDrivers;
}

const Driver& driver_named(const std::string& name) {
  const auto found =
      std::ranges::find_if(kDrivers, [&](const Driver* driver) { return driver->name == name; });
  if (found != kDrivers.end()) return **found;
  std::string known;
  for (const Driver* driver : kDrivers)
    known += std::string(known.empty() ? "" : ", ") + driver->name;
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown driver '{}'", name),
              "the supported drivers are " + known);
}

const Driver& driver_of_filename(const std::string& filename, bool has_protocol) {
  const std::optional<std::string_view> protocol =
      has_protocol ? protocol_of(filename) : std::nullopt;
  if (!protocol) return driver_of_path(filename);
  const auto found = std::ranges::find_if(kDrivers, [&](const Driver* driver) {
    return driver->is_protocol && driver->name == *protocol;
  });
  if (found != kDrivers.end()) return **found;
  throw Error(ErrorKind::kUnsupported, EINVAL, fmt::format("Unknown protocol '{}'", *protocol),
              "use './name' for a file whose name contains a ':'");
}

}  // namespace byre::open
